//! Our end of ICE (RFC 8445) for one browser leg: lite, controlled, answering checks on the shared port.
//!
//! A wrapper over [`is`], which answers the checks; what is decided here is where packets go. The browser's candidates are
//! never needed: a check that authenticates makes its source a *validated* remote, from which DTLS and SRTP are heard. A
//! check with USE-CANDIDATE makes its source the *selected* one, to which we send, at once: `is` itself would hold to the
//! highest priority for 15 s after a browser has moved to another network.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceCreds, Protocol};
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

/// `is` keeps every remote it has seen; after so many its agent, which holds nothing else of worth, is made anew.
const AGENT_REMOTES: usize = 32;

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
}

/// The ICE state of one browser leg.
#[derive(Debug)]
pub struct Ice {
    agent: IceAgent,
    local: IceCreds,
    remote: Option<IceCreds>,
    sockets: SmallVec<[(SocketId, SocketAddr); 4]>,
    validated: SmallVec<[Validated; 2]>,
    selected: Option<Pair>,
    /// Socket, source and nomination of checks before SetRemote, with the user fragment that they claim.
    early: SmallVec<[(Pair, bool, String); 1]>,
    /// No valid check by then, and the leg has failed.
    deadline: Option<Instant>,
    last_check: Option<Instant>,
}

/// What an authenticated check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// A remote that was validated by it.
    pub validated: Option<Pair>,
    /// A remote that lost its place to it.
    pub forgotten: Option<Pair>,
}

impl Ice {
    /// A leg that waits for checks on `sockets`.
    #[must_use]
    pub fn new(ufrag: String, pwd: String, sockets: &[(SocketId, SocketAddr)]) -> Self {
        let local = IceCreds { ufrag, pass: pwd };
        let agent = agent(&local, None, sockets);
        let sockets = SmallVec::from_slice(sockets);
        Self {
            agent,
            local,
            remote: None,
            sockets,
            validated: SmallVec::new(),
            selected: None,
            early: SmallVec::new(),
            deadline: None,
            last_check: None,
        }
    }

    /// Our user fragment: how checks find the leg.
    #[must_use]
    pub fn ufrag(&self) -> &str {
        &self.local.ufrag
    }

    /// The far side's credentials are known. Said again with others, it is an ICE restart: checks must come anew, and what
    /// was validated is heard until they do. Answers to checks that came early go through `send`.
    pub fn set_remote(
        &mut self,
        now: Instant,
        ufrag: &str,
        pwd: &str,
        mut send: impl FnMut(Pair, &[u8]),
        mut validated: impl FnMut(Checked),
    ) {
        let remote = IceCreds { ufrag: ufrag.to_owned(), pass: pwd.to_owned() };
        if self.remote.as_ref() == Some(&remote) {
            return;
        }
        self.agent.set_remote_credentials(remote.clone());
        self.remote = Some(remote);
        self.deadline = Some(now + CHECK_TIMEOUT);
        let early = std::mem::take(&mut self.early);
        for _ in 0..=early.len() {
            self.agent.handle_timeout(now);
        }
        while let Some(answer) = self.agent.poll_transmit() {
            let Some(socket) = self.socket_of(answer.source) else { continue };
            let pair = Pair { socket, remote: answer.destination };
            send(pair, &answer.contents);
            if is_success(&answer.contents) {
                let nominated = early.iter().any(|(early, nominated, _)| *early == pair && *nominated);
                validated(self.on_valid_check(now, pair, nominated));
            }
        }
        while self.agent.poll_event().is_some() {}
    }

    /// Handles a STUN datagram that names our user fragment; answers what it changed if it was a valid check.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        pair: Pair,
        message: StunMessage<'_>,
        mut send: impl FnMut(&[u8]),
    ) -> Option<Checked> {
        let destination = self.sockets.iter().find(|(socket, _)| *socket == pair.socket)?.1;
        let nominated = message.use_candidate();
        let claimed = message.split_username().map(|(_, remote)| remote.to_owned());
        if self.agent.remote_candidates().count() >= AGENT_REMOTES {
            self.agent = agent(&self.local, self.remote.as_ref(), &self.sockets);
        }
        let packet = StunPacket { proto: Protocol::Udp, source: pair.remote, destination, message };
        let accepted = self.agent.handle_packet(now, packet);
        self.agent.handle_timeout(now);
        let mut valid = false;
        while let Some(answer) = self.agent.poll_transmit() {
            valid |= is_success(&answer.contents) && answer.destination == pair.remote;
            send(&answer.contents);
        }
        while self.agent.poll_event().is_some() {}
        if accepted && self.remote.is_none() && self.early.len() < MAX_EARLY {
            self.early.push((pair, nominated, claimed?));
        }
        valid.then(|| self.on_valid_check(now, pair, nominated))
    }

    fn on_valid_check(&mut self, now: Instant, pair: Pair, nominated: bool) -> Checked {
        self.last_check = Some(now);
        let mut checked = Checked { validated: None, forgotten: None };
        match self.validated.iter_mut().find(|known| known.pair == pair) {
            Some(known) => known.heard = now,
            None => {
                if self.validated.len() >= MAX_REMOTES {
                    checked.forgotten = self.forget_oldest();
                }
                self.validated.push(Validated { pair, heard: now });
                checked.validated = Some(pair);
            }
        }
        if nominated || self.selected.is_none() {
            self.selected = Some(pair);
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

    fn socket_of(&self, local: SocketAddr) -> Option<SocketId> {
        self.sockets.iter().find(|(_, addr)| *addr == local).map(|(socket, _)| *socket)
    }
}

fn agent(local: &IceCreds, remote: Option<&IceCreds>, sockets: &[(SocketId, SocketAddr)]) -> IceAgent {
    let mut agent = IceAgent::new(local.clone());
    agent.set_ice_lite(true);
    // A lite agent is always controlled (RFC 8445 section 6.1.1): it must win a conflict over the role.
    agent.set_controlling(false);
    agent.set_control_tie_breaker(u64::MAX);
    for (_, addr) in sockets {
        if let Ok(candidate) = Candidate::host(*addr, Protocol::Udp) {
            agent.add_local_candidate(candidate);
        }
    }
    if let Some(remote) = remote {
        agent.set_remote_credentials(remote.clone());
    }
    agent
}

/// A Binding success response: what `is` answers to a check that it believes.
fn is_success(stun: &[u8]) -> bool {
    stun.starts_with(&[0x01, 0x01])
}
