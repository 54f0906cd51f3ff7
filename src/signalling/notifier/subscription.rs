use std::time::Instant;

use super::document::DialogState;
use super::package::Package;
use super::state::State;
use crate::base::DeadlineKey;
use crate::signalling::dialog::Dialog;
use crate::signalling::flow::Flow;

/// One watcher of one account (RFC 6665).
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) package: Package,
    /// Event's `id`, said again in each NOTIFY.
    pub(super) event_id: Option<String>,
    pub(super) watched: String,
    pub(super) subscriber: String,
    /// `+sip.instance` of the binding that its SUBSCRIBE came over: by it the subscription finds its subscriber again.
    pub(super) instance: Option<String>,
    pub(super) flow: Flow,
    pub(super) dialog: Dialog,
    pub(super) expires_at: Instant,
    pub(super) expires: DeadlineKey,
    pub(super) rest: Option<DeadlineKey>,
    /// Of the next dialog-info (RFC 4235 section 4.1).
    pub(super) version: u32,
    /// Calls that have ended since the last NOTIFY.
    pub(super) ended: Vec<DialogState>,
    pub(super) state: State,
}

impl Subscription {
    /// Subscription-State (RFC 6665 section 8.2.3).
    pub(super) fn state_value(&self, now: Instant) -> String {
        if self.state == State::Last {
            return "terminated;reason=timeout".to_owned();
        }
        let left = self.expires_at.saturating_duration_since(now).as_secs_f64().ceil();
        format!("active;expires={left:.0}")
    }

    pub(super) fn event_value(&self) -> String {
        match &self.event_id {
            Some(id) => format!("{};id={id}", self.package.name()),
            None => self.package.name().to_owned(),
        }
    }

    /// Whether remote identities are this watcher's to see.
    pub(super) fn is_own(&self) -> bool {
        self.subscriber == self.watched
    }
}
