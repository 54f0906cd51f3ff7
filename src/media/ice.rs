//! Our end of ICE (RFC 8445) for one browser leg: lite, controlled, answering checks on the shared port.
//!
//! A wrapper over [`is`], which answers the checks; what is decided here is where packets go. The browser's candidates are
//! never needed: a check that authenticates makes its source a *validated* remote, from which DTLS and SRTP are heard. A
//! check with USE-CANDIDATE makes its source the *selected* one, to which we send, at once: `is` itself would hold to the
//! highest priority for 15 s after a browser has moved to another network.
//!
//! A restart makes a new *generation*: credentials and an agent of their own. Checks of the one before are answered until one of
//! the new has been valid; remotes stay validated, and packets flow, all the while.

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
    /// By a check of the newest generation.
    current: bool,
}

/// One pair of credentials and who answers for it.
#[derive(Debug)]
struct Generation {
    agent: IceAgent,
    local: IceCreds,
    remote: Option<IceCreds>,
    /// Socket, source and nomination of checks before SetRemote, with the user fragment that they claim.
    early: SmallVec<[(Pair, bool, String); 1]>,
    /// One of its checks was valid.
    proven: bool,
}

impl Generation {
    fn new(local: IceCreds, remote: Option<IceCreds>, sockets: &[(SocketId, SocketAddr)]) -> Self {
        Self { agent: agent(&local, remote.as_ref(), sockets), local, remote, early: SmallVec::new(), proven: false }
    }

    /// Whether a check is for it, by both user fragments.
    fn is_named(&self, (ours, theirs): (&str, &str)) -> bool {
        self.local.ufrag == ours && self.remote.as_ref().is_none_or(|remote| remote.ufrag == theirs)
    }
}

/// The ICE state of one browser leg.
#[derive(Debug)]
pub struct Ice {
    newest: Generation,
    /// The one before a restart, until the newest is proven.
    before: Option<Box<Generation>>,
    /// The far side has restarted, and we have not yet.
    answer_due: bool,
    sockets: SmallVec<[(SocketId, SocketAddr); 4]>,
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
    /// A leg that waits for checks on `sockets`.
    #[must_use]
    pub fn new(ufrag: String, pwd: String, sockets: &[(SocketId, SocketAddr)]) -> Self {
        Self {
            newest: Generation::new(IceCreds { ufrag, pass: pwd }, None, sockets),
            before: None,
            answer_due: false,
            sockets: SmallVec::from_slice(sockets),
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
        let old = std::mem::replace(&mut self.newest, Generation::new(local, remote, &self.sockets));
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
            None => {
                self.newest.agent.set_remote_credentials(remote.clone());
                self.newest.remote = Some(remote);
            }
        }
        self.deadline = Some(now + CHECK_TIMEOUT);
        let early = std::mem::take(&mut self.newest.early);
        for _ in 0..=early.len() {
            self.newest.agent.handle_timeout(now);
        }
        while let Some(answer) = self.newest.agent.poll_transmit() {
            let Some(socket) = self.socket_of(answer.source) else { continue };
            let pair = Pair { socket, remote: answer.destination };
            send(pair, &answer.contents);
            if is_success(&answer.contents) {
                let nominated = early.iter().any(|(early, nominated, _)| *early == pair && *nominated);
                validated(self.on_valid_check(now, pair, nominated, true));
            }
        }
        while self.newest.agent.poll_event().is_some() {}
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
        let named = message.split_username()?;
        let is_old = !self.newest.is_named(named) && self.before.as_ref().is_some_and(|before| before.is_named(named));
        let generation = self.before.as_deref_mut().filter(|_| is_old).unwrap_or(&mut self.newest);
        let claimed = named.1.to_owned();
        if generation.agent.remote_candidates().count() >= AGENT_REMOTES {
            generation.agent = agent(&generation.local, generation.remote.as_ref(), &self.sockets);
        }
        let packet = StunPacket { proto: Protocol::Udp, source: pair.remote, destination, message };
        let accepted = generation.agent.handle_packet(now, packet);
        generation.agent.handle_timeout(now);
        let mut valid = false;
        while let Some(answer) = generation.agent.poll_transmit() {
            valid |= is_success(&answer.contents) && answer.destination == pair.remote;
            send(&answer.contents);
        }
        while generation.agent.poll_event().is_some() {}
        if accepted && generation.remote.is_none() && generation.early.len() < MAX_EARLY {
            generation.early.push((pair, nominated, claimed));
        }
        valid.then(|| self.on_valid_check(now, pair, nominated, !is_old))
    }

    fn on_valid_check(&mut self, now: Instant, pair: Pair, nominated: bool, current: bool) -> Checked {
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
