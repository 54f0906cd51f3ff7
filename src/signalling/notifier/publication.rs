use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::document::{Phase, Presence};
use super::pidf::{self, Published};
use super::state::Event;
use super::{Due, Notifier, NotifierError, PIDF, Package};
use crate::base::DeadlineKey;
use crate::wire::sip::Message;

/// One document that a device of the account has published (RFC 3903).
#[derive(Debug)]
pub(super) struct Publication {
    /// Its SIP-ETag, another one after each PUBLISH.
    pub(super) tag: String,
    pub(super) expires: DeadlineKey,
    pub(super) status: Published,
}

/// What accounts have published. Of several documents the one that was published last counts.
#[derive(Debug, Default)]
pub(super) struct Publications {
    /// Each list from the oldest to the newest.
    by_account: BTreeMap<String, Vec<Publication>>,
    count: usize,
}

impl Publications {
    pub(super) fn latest(&self, account: &str) -> Option<&Published> {
        self.by_account.get(account)?.last().map(|publication| &publication.status)
    }

    pub(super) fn add(&mut self, account: &str, publication: Publication) {
        self.by_account.entry(account.to_owned()).or_default().push(publication);
        self.count += 1;
    }

    pub(super) fn take(&mut self, account: &str, tag: &str) -> Option<Publication> {
        let list = self.by_account.get_mut(account)?;
        let at = list.iter().position(|publication| publication.tag == tag)?;
        let taken = list.remove(at);
        if list.is_empty() {
            self.by_account.remove(account);
        }
        self.count -= 1;
        Some(taken)
    }

    /// The tag of an account's oldest document, if it has `limit` of them or more.
    pub(super) fn one_too_many(&self, account: &str, limit: usize) -> Option<String> {
        let list = self.by_account.get(account).filter(|list| list.len() >= limit)?;
        list.first().map(|publication| publication.tag.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl Notifier {
    /// A PUBLISH of `account` for itself; its document's tag shall be `tag`. Gives the seconds for the 200.
    ///
    /// # Errors
    /// See [`NotifierError`]; nothing was changed.
    pub fn publish(&mut self, now: Instant, request: &Message, account: &str, tag: String) -> Result<u32, NotifierError> {
        if Package::of(request).is_none_or(|(package, _)| package != Package::Presence) {
            return Err(NotifierError::BadEvent);
        }
        let body = request.body();
        if body.len() > self.limits.document_bytes {
            return Err(NotifierError::TooLarge);
        }
        let is_pidf = request.content_type().is_some_and(|t| t.eq_ignore_ascii_case(PIDF.as_bytes()));
        if !body.is_empty() && !is_pidf {
            return Err(NotifierError::NoDocument);
        }
        let expires_secs = self.expires_of(request)?;
        let new = (!body.is_empty()).then(|| pidf::read(body)).transpose().map_err(|_| NotifierError::Malformed)?;
        let before = self.presence_of(account);
        let condition = request.line_named("SIP-If-Match").map(String::from_utf8_lossy);
        let status = match condition {
            Some(old_tag) => {
                let old = self.publications.take(account, &old_tag).ok_or(NotifierError::ConditionFailed)?;
                self.deadlines.disarm(old.expires);
                new.unwrap_or(old.status)
            }
            None if expires_secs == 0 => return Err(NotifierError::Malformed),
            None if self.publications.len() >= self.limits.publications => return Err(NotifierError::Full),
            None => new.ok_or(NotifierError::Malformed)?,
        };
        if expires_secs > 0 {
            if let Some(oldest) = self.publications.one_too_many(account, self.limits.per_publisher)
                && let Some(oldest) = self.publications.take(account, &oldest)
            {
                self.deadlines.disarm(oldest.expires);
            }
            let at = now + Duration::from_secs(u64::from(expires_secs));
            let due = Due::Publication { account: account.to_owned(), tag: tag.clone() };
            let expires = self.deadlines.arm(at, due, "publication expires");
            self.publications.add(account, Publication { tag, expires, status });
        }
        self.presence_changed(now, account, &before);
        Ok(expires_secs)
    }

    /// What presence is composed of: what was published last; where nothing was, whether there is a binding; and the phone.
    pub(super) fn presence_of(&self, account: &str) -> Presence {
        let state = self.accounts.get(account);
        let published = self.publications.latest(account);
        let reachable = state.is_some_and(|s| s.reachable);
        Presence {
            open: published.and_then(|p| p.open).unwrap_or(reachable),
            on_the_phone: state.is_some_and(|s| s.dialogs.iter().any(|d| d.phase == Phase::Confirmed)),
            activity: published.and_then(|p| p.activity),
            note: published.and_then(|p| p.note.clone()),
        }
    }

    pub(super) fn presence_changed(&mut self, now: Instant, account: &str, before: &Presence) {
        if self.presence_of(account) == *before {
            return;
        }
        for key in self.watchers_of(Package::Presence, account) {
            self.fire(now, key, Event::Changed);
        }
    }
}
