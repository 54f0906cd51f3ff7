//! Our end of ICE (RFC 8445) for one browser leg: lite, controlled, answering checks on the shared port.
//!
//! STUN is read and written by [`is`]. Its agent is not used: who never sends a check needs no pairs of candidates to check, and
//! they would weigh as much as all else that a leg knows. The browser's candidates are never needed either: a check that
//! authenticates makes its source a *validated* remote, from which DTLS and SRTP are heard. A check with USE-CANDIDATE makes its
//! source the *selected* one, to which we send, at once.
//!
//! A restart makes a new *generation* of credentials. Checks of the one before are answered until one of the new has been valid;
//! remotes stay validated, and packets flow, all the while.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use is::IceCreds;
use is::stun::{StunMessage, TransId};
use sha1::Sha1;
use smallvec::SmallVec;

use super::SocketId;

/// From SetRemote to the first valid check; after that a leg that was never validated has failed.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Without a check for so long, consent has been lost (RFC 7675 section 5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A selected remote silent for so long gives way to one that is heard.
const SELECTED_SILENT: Duration = Duration::from_millis(500);

/// Remotes validated at one time: a browser has few interfaces, a NAT that rebinds leaves old ones behind.
const MAX_REMOTES: usize = 8;

/// Checks that came before SetRemote and are answered with it.
const MAX_EARLY: usize = 8;

/// Room for an answer: 76 bytes, whether it is a success for an IPv6 address or an error.
const MAX_ANSWER: usize = 128;

/// One of our sockets and an address of the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Ours.
    pub socket: SocketId,
    /// Theirs.
    pub remote: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
struct Validated {
    pair: Pair,
    heard: Instant,
    /// By a check of the newest generation.
    current: bool,
}

/// A check whose tag was good.
#[derive(Debug, Clone, Copy)]
struct Check {
    pair: Pair,
    id: TransId,
    nominated: bool,
    /// It is of one that calls itself controlled, which a lite agent is and stays (RFC 8445 section 6.1.1).
    in_our_role: bool,
}

/// One pair of credentials on either side.
#[derive(Debug)]
struct Generation {
    local: IceCreds,
    remote: Option<IceCreds>,
    /// Checks before SetRemote, with the user fragment that they claim.
    early: Vec<(Check, String)>,
    /// One of its checks was valid.
    proven: bool,
}

impl Generation {
    fn new(local: IceCreds, remote: Option<IceCreds>) -> Self {
        Self { local, remote, early: Vec::new(), proven: false }
    }

    /// Whether a check is for it, by both user fragments.
    fn is_named(&self, (ours, theirs): (&str, &str)) -> bool {
        self.local.ufrag == ours && self.remote.as_ref().is_none_or(|remote| remote.ufrag == theirs)
    }

    /// Answers a check; whether it was valid.
    fn answer(&self, check: &Check, send: impl FnOnce(&[u8])) -> bool {
        let answer = match check.in_our_role {
            true => StunMessage::binding_role_conflict_reply(check.id),
            false => StunMessage::binding_reply(check.id, check.pair.remote),
        };
        let mut buf = [0; MAX_ANSWER];
        let written = answer.to_bytes(Some(self.local.pass.as_bytes()), &mut buf, hmac_sha1);
        let Some(bytes) = written.ok().and_then(|len| buf.get(..len)) else { return false };
        send(bytes);
        !check.in_our_role
    }
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = <Hmac<Sha1> as Mac>::new_from_slice(key) else { return [0; 20] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The ICE state of one browser leg.
#[derive(Debug)]
pub struct Ice {
    newest: Generation,
    /// The one before a restart, until the newest is proven.
    before: Option<Box<Generation>>,
    /// The far side has restarted, and we have not yet.
    answer_due: bool,
    validated: SmallVec<[Validated; 2]>,
    selected: Option<Pair>,
    /// No valid check by then, and the leg has failed.
    deadline: Option<Instant>,
    last_check: Option<Instant>,
}

/// What an authenticated check changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// A remote that was validated by it.
    pub validated: Option<Pair>,
    /// A remote that lost its place to it.
    pub forgotten: Option<Pair>,
    /// A user fragment of ours that is no longer answered.
    pub retired: Option<String>,
}

impl Ice {
    /// A leg that waits for checks.
    #[must_use]
    pub fn new(ufrag: String, pwd: String) -> Self {
        Self {
            newest: Generation::new(IceCreds { ufrag, pass: pwd }, None),
            before: None,
            answer_due: false,
            validated: SmallVec::new(),
            selected: None,
            deadline: None,
            last_check: None,
        }
    }

    /// Our user fragments: how checks find the leg.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.newest).chain(self.before.as_deref()).map(|generation| generation.local.ufrag.as_str())
    }

    /// Our credentials from now on. Answers a user fragment that nobody was told of by then, if there was one.
    pub fn restart(&mut self, ufrag: String, pwd: String) -> Option<String> {
        let local = IceCreds { ufrag, pass: pwd };
        if self.newest.local == local {
            return None;
        }
        // The far side's new credentials belong to our new ones, whichever came first.
        let remote = if std::mem::take(&mut self.answer_due) { self.newest.remote.take() } else { None };
        self.begin_generation(local, remote)
    }

    fn begin_generation(&mut self, local: IceCreds, remote: Option<IceCreds>) -> Option<String> {
        let old = std::mem::replace(&mut self.newest, Generation::new(local, remote));
        self.validated.iter_mut().for_each(|known| known.current = false);
        if old.proven || self.before.is_none() {
            self.before = Some(Box::new(old));
            return None;
        }
        // Restarted once more before the last one was proven: that one is given up.
        let ufrag = old.local.ufrag;
        self.ufrags().all(|live| live != ufrag).then_some(ufrag)
    }

    /// The far side's credentials are known. Said again with others, it is an ICE restart. Answers to checks that came early go
    /// through `send`.
    pub fn set_remote(
        &mut self,
        now: Instant,
        ufrag: &str,
        pwd: &str,
        mut send: impl FnMut(Pair, &[u8]),
        mut validated: impl FnMut(Checked),
    ) {
        let remote = IceCreds { ufrag: ufrag.to_owned(), pass: pwd.to_owned() };
        match &self.newest.remote {
            Some(known) if *known == remote => return,
            Some(_) => {
                self.begin_generation(self.newest.local.clone(), Some(remote));
                self.answer_due = true;
            }
            None => self.newest.remote = Some(remote),
        }
        self.deadline = Some(now + CHECK_TIMEOUT);
        for (check, claimed) in std::mem::take(&mut self.newest.early) {
            if claimed == ufrag && self.newest.answer(&check, |answer| send(check.pair, answer)) {
                validated(self.on_valid_check(now, &check, true));
            }
        }
    }

    /// Handles a STUN datagram that names our user fragment; answers what it changed if it was a valid check.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        pair: Pair,
        message: StunMessage<'_>,
        send: impl FnOnce(&[u8]),
    ) -> Option<Checked> {
        let named = message.split_username()?;
        let is_old = !self.newest.is_named(named) && self.before.as_ref().is_some_and(|before| before.is_named(named));
        let generation = self.before.as_deref_mut().filter(|_| is_old).unwrap_or(&mut self.newest);
        if !generation.is_named(named) || !message.verify(generation.local.pass.as_bytes(), hmac_sha1) {
            return None;
        }
        let (nominated, in_our_role) = (message.use_candidate(), message.ice_controlled().is_some());
        let check = Check { pair, id: message.trans_id(), nominated, in_our_role };
        if generation.remote.is_none() {
            if generation.early.len() < MAX_EARLY {
                generation.early.push((check, named.1.to_owned()));
            }
            return None;
        }
        generation.answer(&check, send).then(|| self.on_valid_check(now, &check, !is_old))
    }

    fn on_valid_check(&mut self, now: Instant, check: &Check, current: bool) -> Checked {
        let Check { pair, nominated, .. } = *check;
        self.last_check = Some(now);
        let mut checked = Checked::default();
        match self.validated.iter_mut().find(|known| known.pair == pair) {
            Some(known) => (known.heard, known.current) = (now, known.current || current),
            None => {
                if self.validated.len() >= MAX_REMOTES {
                    checked.forgotten = self.forget_oldest();
                }
                self.validated.push(Validated { pair, heard: now, current });
                checked.validated = Some(pair);
            }
        }
        if nominated || self.selected.is_none() {
            self.selected = Some(pair);
        }
        if current {
            (self.newest.proven, self.answer_due) = (true, false);
            let before = self.before.take().map(|before| before.local.ufrag);
            checked.retired = before.filter(|ufrag| *ufrag != self.newest.local.ufrag);
        }
        checked
    }

    fn forget_oldest(&mut self) -> Option<Pair> {
        let others = self.validated.iter().enumerate().filter(|(_, known)| Some(known.pair) != self.selected);
        let at = others.min_by_key(|(_, known)| known.heard)?.0;
        Some(self.validated.swap_remove(at).pair)
    }

    /// A packet of this pair was authenticated by SRTP or DTLS. A browser that went on without saying so is followed once the
    /// selected remote has fallen silent.
    pub fn on_heard(&mut self, now: Instant, pair: Pair) {
        let Some(known) = self.validated.iter_mut().find(|known| known.pair == pair) else { return };
        known.heard = now;
        let Some(selected) = self.selected.filter(|selected| *selected != pair) else { return };
        let silent = self.validated.iter().find(|known| known.pair == selected);
        if silent.is_none_or(|known| now.saturating_duration_since(known.heard) > SELECTED_SILENT) {
            self.selected = Some(pair);
        }
    }

    /// Whether a check from this pair was valid.
    #[must_use]
    pub fn is_validated(&self, pair: Pair) -> bool {
        self.validated.iter().any(|known| known.pair == pair)
    }

    /// Whether a check of the newest generation was valid from this pair.
    #[must_use]
    pub fn is_current(&self, pair: Pair) -> bool {
        self.validated.iter().any(|known| known.pair == pair && known.current)
    }

    /// Where a handshake goes: as [`Ice::send_pair`], but never to where only checks from before a restart came.
    #[must_use]
    pub fn handshake_pair(&self) -> Option<Pair> {
        let current = self.validated.iter().filter(|known| known.current).map(|known| known.pair);
        current.clone().find(|pair| Some(*pair) == self.selected).or_else(|| current.min())
    }

    /// Every remote that is heard.
    pub fn validated(&self) -> impl Iterator<Item = Pair> + '_ {
        self.validated.iter().map(|known| known.pair)
    }

    /// Where to send: the nominated remote, before that the first validated.
    #[must_use]
    pub fn send_pair(&self) -> Option<Pair> {
        self.selected
    }

    /// Whether checks have failed to come, at `now`.
    #[must_use]
    pub fn has_timed_out(&self, now: Instant) -> bool {
        self.timeout().is_some_and(|at| at <= now)
    }

    /// When the leg will have failed if nothing comes until then. It moves with every check.
    #[must_use]
    pub fn timeout(&self) -> Option<Instant> {
        let deadline = self.deadline?;
        Some(self.last_check.map_or(deadline, |last| deadline.max(last + CONSENT_TIMEOUT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "0123456789012345678901";

    /// What one check of a far side at `remote` is answered, and whether it was valid.
    fn answer_to(remote: &str, is_controlling: bool, pwd: &str) -> (Option<Vec<u8>>, bool) {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let mut ice = Ice::new("gate".into(), PWD.into());
        ice.set_remote(now, "peer", "ignored", |_, _| panic!("nobody asked"), |_| panic!("nobody asked"));
        let request = StunMessage::binding_request("gate:peer", TransId::new(), is_controlling, 7, 1, is_controlling);
        let mut buf = [0; 300];
        let len = request.to_bytes(Some(pwd.as_bytes()), &mut buf, hmac_sha1).unwrap();
        let pair = Pair { socket: SocketId(0), remote: remote.parse().unwrap() };
        let (mut answer, message) = (None, StunMessage::parse(&buf[..len]).unwrap());
        let checked = ice.handle_stun(now, pair, message, |bytes| answer = Some(bytes.to_vec()));
        assert_eq!(checked.is_some(), ice.is_validated(pair));
        (answer, checked.is_some())
    }

    #[test]
    fn a_check_is_answered_with_where_it_came_from_under_our_own_password() {
        for remote in ["203.0.113.1:5", "[2001:db8::1]:60000"] {
            let (answer, is_valid) = answer_to(remote, true, PWD);
            let answer = answer.expect("an answer");
            let answer = StunMessage::parse(&answer).unwrap();
            assert!(is_valid && answer.is_successful_binding_response() && answer.verify(PWD.as_bytes(), hmac_sha1));
            assert_eq!(answer.mapped_address(), Some(remote.parse().unwrap()));
        }
    }

    #[test]
    fn one_that_calls_itself_controlled_is_told_so_and_validates_nothing() {
        let (answer, is_valid) = answer_to("203.0.113.1:5", false, PWD);
        let answer = answer.expect("an answer");
        let answer = StunMessage::parse(&answer).unwrap();
        assert!(!is_valid && answer.is_failed_binding_response() && answer.verify(PWD.as_bytes(), hmac_sha1));
        assert_eq!(answer.error_code().map(|error| error.0), Some(487));
    }

    #[test]
    fn one_with_another_password_is_not_answered() {
        assert_eq!(answer_to("203.0.113.1:5", true, "another password"), (None, false));
    }
}
