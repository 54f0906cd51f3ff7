//! Session timers (RFC 4028), ended per leg: what a browser refreshes every 90 s says nothing of what a trunk wants.

use std::time::Duration;

use crate::wire::sip::{HeaderName, Message, Params};

/// The least interval of all (RFC 4028 section 4).
pub const MIN_SE_SECS: u32 = 90;

/// The timer that a leg has agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// The session is over so long after the last refresh.
    pub interval_secs: u32,
    /// Whether the refreshes are ours.
    pub ours: bool,
}

impl SessionTimer {
    /// When our refresh is due: half way (section 7.2).
    #[must_use]
    pub fn refresh_after(self) -> Duration {
        Duration::from_secs(u64::from(self.interval_secs / 2))
    }

    /// When a session that was not refreshed is given up: a little before its end (section 10).
    #[must_use]
    pub fn give_up_after(self) -> Duration {
        Duration::from_secs(u64::from(self.interval_secs - (self.interval_secs / 3).min(32)))
    }

    /// As it is written in a response to the peer's request.
    #[must_use]
    pub fn in_response(self) -> String {
        format!("{};refresher={}", self.interval_secs, if self.ours { "uas" } else { "uac" })
    }

    /// As it is written in a request of ours.
    #[must_use]
    pub fn in_request(self) -> String {
        format!("{};refresher={}", self.interval_secs, if self.ours { "uac" } else { "uas" })
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    Nothing,
    /// Less than [`MIN_SE_SECS`]: 422.
    TooSmall,
    /// This.
    Interval {
        /// Seconds.
        secs: u32,
        /// Who shall refresh, if it says so: true means the UAC, who asks.
        by_uac: Option<bool>,
    },
}

fn session_expires(message: &Message) -> Option<(u32, Option<bool>)> {
    let line = message.line(HeaderName::SessionExpires)?;
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let secs = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
    let rest = line[digits..].trim_ascii_start();
    let refresher = Params::parse(rest).ok().and_then(|params| params.text("refresher"));
    let by_uac = match refresher {
        Some(who) if who.eq_ignore_ascii_case("uac") => Some(true),
        Some(who) if who.eq_ignore_ascii_case("uas") => Some(false),
        _ => None,
    };
    Some((secs, by_uac))
}

/// What a request that came in asks for.
#[must_use]
pub fn asked(request: &Message) -> Asked {
    match session_expires(request) {
        None => Asked::Nothing,
        Some((secs, _)) if secs < MIN_SE_SECS => Asked::TooSmall,
        Some((secs, by_uac)) => Asked::Interval { secs, by_uac },
    }
}

/// The timer that our 2xx to a request grants: what it asks for; `own_secs` where it asks for nothing but knows timers, and
/// the leg wants one (0: none). Who does not know timers cannot refresh: then it is ours to do.
#[must_use]
pub fn grant(asked: Asked, knows_timers: bool, own_secs: u32) -> Option<SessionTimer> {
    match asked {
        Asked::TooSmall => None,
        Asked::Interval { secs, by_uac } => {
            Some(SessionTimer { interval_secs: secs, ours: !knows_timers || by_uac == Some(false) })
        }
        Asked::Nothing if own_secs > 0 && knows_timers => Some(SessionTimer { interval_secs: own_secs, ours: true }),
        Asked::Nothing => None,
    }
}

/// The timer that a 2xx to a request of ours agrees to.
#[must_use]
pub fn agreed(response: &Message) -> Option<SessionTimer> {
    let (secs, by_uac) = session_expires(response)?;
    Some(SessionTimer { interval_secs: secs.max(MIN_SE_SECS), ours: by_uac != Some(false) })
}

/// `Min-SE` of a 422, or the least.
#[must_use]
pub fn min_se_secs(message: &Message) -> u32 {
    let line = message.line_named("Min-SE").unwrap_or_default();
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[..digits]).ok().and_then(|d| d.parse().ok()).unwrap_or(MIN_SE_SECS).max(MIN_SE_SECS)
}
