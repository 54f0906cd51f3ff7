use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use is::stun::StunMessage;
use slotmap::{DefaultKey, SlotMap};

use super::browser::{Browser, Changes};
use super::buffer::Slot;
use super::classic::Classic;
use super::dtls::DtlsIdentity;
use super::leg::{Leg, Transport};
use super::routes::{LegKey, Port, Routes};
use super::session::Session;
use super::stats::Counters;
use super::{Pair, Sink, SocketId};
use crate::base::{Now, Rng};
use crate::plan::{LegOpen, MediaCommand, MediaEvent, OpenFailure, SessionId, Side};
use crate::wire::rtp::{Kind, classify};

/// Deadlines are kept no closer than this.
const RESOLUTION: Duration = Duration::from_millis(1);

/// What a core is made of.
#[derive(Debug)]
pub struct CoreConfig {
    /// The shared sockets of the browser legs, each with its own address.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// Sessions at one time.
    pub max_sessions: usize,
    /// The gateway's certificate.
    pub identity: DtlsIdentity,
    /// Where SSRCs, first numbers and names come from.
    pub rng: Rng,
}

/// Datagrams on the shared port that belong to no leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unrouted {
    /// STUN that cannot be read, is no request, or names no user fragment of ours.
    pub stun: u64,
    /// DTLS from a remote that ICE has not validated.
    pub dtls: u64,
    /// RTP or RTCP from a remote that ICE has not validated.
    pub rtp: u64,
    /// Anything else, on any port.
    pub unknown: u64,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    /// The deadline in the heap that is in force; others of this session are stale.
    armed: Option<Instant>,
}

/// All sessions of one worker.
#[derive(Debug)]
pub struct Core {
    sockets: Vec<(SocketId, SocketAddr)>,
    max_sessions: usize,
    identity: Arc<DtlsIdentity>,
    rng: Rng,
    sessions: SlotMap<DefaultKey, Entry>,
    by_id: BTreeMap<SessionId, DefaultKey>,
    routes: Routes,
    /// A heap rather than [`Deadlines`](crate::base::Deadlines): it keeps its memory, so that a tone's tick allocates nothing.
    deadlines: BinaryHeap<Reverse<(Instant, &'static str, DefaultKey)>>,
    unrouted: Unrouted,
}

impl Core {
    /// A core without sessions.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        Self {
            sockets: config.sockets,
            max_sessions: config.max_sessions,
            identity: Arc::new(config.identity),
            rng: config.rng,
            sessions: SlotMap::with_capacity(config.max_sessions.min(4_096)),
            by_id: BTreeMap::new(),
            routes: Routes::default(),
            deadlines: BinaryHeap::new(),
            unrouted: Unrouted::default(),
        }
    }

    /// Carries out one command of signalling. One about a session or leg that does not exist (any more) is ignored, but
    /// Close, which is always answered.
    pub fn handle_command(&mut self, now: Now, command: MediaCommand, sink: &mut dyn Sink) {
        match command {
            MediaCommand::Open { session, side, leg } => {
                let event = match self.open(session, side, leg, sink) {
                    Ok(local) => MediaEvent::Opened { session, side, local },
                    Err(cause) => MediaEvent::OpenFailed { session, side, cause },
                };
                sink.event(event);
            }
            MediaCommand::SetRemote { session, side, remote } => {
                let Some(key) = self.by_id.get(&session).copied() else { return };
                let identity = Arc::clone(&self.identity);
                let changes =
                    self.guarded(now, key, sink, |session, sink| session.set_remote(now, side, &remote, &identity, sink));
                self.reroute((key, side), changes.unwrap_or_default());
            }
            MediaCommand::SetPath { session, plan } => {
                if let Some(key) = self.by_id.get(&session).copied() {
                    self.guarded(now, key, sink, |session, _| session.set_path(now, plan));
                }
            }
            MediaCommand::CloseLeg { session, side } => {
                if let Some(key) = self.by_id.get(&session).copied() {
                    self.close_leg((key, side), sink);
                    if self.sessions.get(key).is_some_and(|entry| entry.session.is_empty()) {
                        self.remove(key, sink);
                    }
                }
            }
            MediaCommand::Close { session } => {
                let stats = self.by_id.get(&session).copied().and_then(|key| {
                    self.guarded(now, key, sink, |session, sink| session.close(now, sink))?;
                    self.remove(key, sink)
                });
                let [a, b] = stats.unwrap_or_default();
                sink.event(MediaEvent::Closed { session, a, b });
            }
        }
    }

    fn open(&mut self, id: SessionId, side: Side, leg: LegOpen, sink: &mut dyn Sink) -> Result<Vec<SocketAddr>, OpenFailure> {
        let known = self.by_id.get(&id).copied();
        if known.is_none() && self.sessions.len() >= self.max_sessions {
            return Err(OpenFailure::TooManySessions);
        }
        if let Some(key) = known {
            self.close_leg((key, side), sink);
        }
        let (transport, local) = match leg {
            LegOpen::Rtp { local } => {
                let ports = sink.bind_pair(local)?;
                (Transport::Classic(Classic::new(ports)), vec![ports.local])
            }
            LegOpen::WebRtc { ice_ufrag, ice_pwd } => {
                let local = self.sockets.iter().map(|(_, addr)| *addr).collect();
                (Transport::Browser(Box::new(Browser::new(ice_ufrag, ice_pwd, &self.sockets))), local)
            }
        };
        let key = known.unwrap_or_else(|| {
            let mut seed = [0; 32];
            self.rng.fill(&mut seed);
            let session = Session::new(id, Rng::from_seed(seed));
            let key = self.sessions.insert(Entry { session, armed: None });
            self.by_id.insert(id, key);
            key
        });
        match &transport {
            Transport::Classic(classic) => self.routes.add_ports(classic.ports, (key, side)),
            Transport::Browser(browser) => self.routes.add_ufrag(browser.ice.ufrag(), (key, side)),
        }
        self.sessions[key].session.open(side, transport);
        Ok(local)
    }

    /// Handles one datagram that arrived on one of our sockets; `slot` may be changed.
    pub fn handle_datagram(&mut self, now: Now, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        if let Some(((key, side), port)) = self.routes.socket(pair.socket) {
            // With rtcp-mux both share the RTP port (RFC 5761).
            let rtcp = port == Port::Rtcp || classify(slot.data()) == Kind::Rtcp;
            self.guarded(now, key, sink, |session, sink| {
                if rtcp {
                    session.on_rtcp(now, side, pair, slot);
                } else {
                    session.on_rtp(now, side, pair, slot, sink);
                }
            });
            return;
        }
        match (classify(slot.data()), self.routes.pair(pair)) {
            (Kind::Stun, _) => self.on_stun(now, pair, slot, sink),
            (Kind::Dtls, Some((key, side))) => {
                self.guarded(now, key, sink, |session, sink| session.on_dtls(now, side, pair, slot.data(), sink));
            }
            (Kind::Rtp, Some((key, side))) => {
                self.guarded(now, key, sink, |session, sink| session.on_rtp(now, side, pair, slot, sink));
            }
            (Kind::Rtcp, Some((key, side))) => {
                self.guarded(now, key, sink, |session, _| session.on_rtcp(now, side, pair, slot));
            }
            (Kind::Dtls, None) => self.unrouted.dtls += 1,
            (Kind::Rtp | Kind::Rtcp, None) => self.unrouted.rtp += 1,
            (Kind::Unknown, _) => self.unrouted.unknown += 1,
        }
    }

    fn on_stun(&mut self, now: Now, pair: Pair, slot: &Slot, sink: &mut dyn Sink) {
        let message = StunMessage::parse(slot.data()).ok().filter(StunMessage::is_binding_request);
        let leg = message.as_ref().and_then(|message| self.routes.ufrag(message.split_username()?.0));
        let (Some(message), Some(leg)) = (message, leg) else {
            self.unrouted.stun += 1;
            return;
        };
        let identity = Arc::clone(&self.identity);
        let changes = self.guarded(now, leg.0, sink, |session, sink| session.on_stun(now, leg.1, pair, message, &identity, sink));
        self.reroute(leg, changes.unwrap_or_default());
    }

    fn reroute(&mut self, leg: LegKey, changes: Changes) {
        for checked in changes {
            if let Some(pair) = checked.forgotten {
                self.routes.remove_pair(pair, leg);
            }
            if let Some(pair) = checked.validated {
                self.routes.add_pair(pair, leg);
            }
        }
    }

    /// Does whatever is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, sink: &mut dyn Sink) {
        while let Some(Reverse((at, _, key))) = self.deadlines.peek().copied() {
            if at > now.mono {
                break;
            }
            self.deadlines.pop();
            let Some(entry) = self.sessions.get_mut(key).filter(|entry| entry.armed == Some(at)) else { continue };
            entry.armed = None;
            self.guarded(now, key, sink, |session, sink| session.handle_timeout(now, sink));
        }
    }

    /// When [`Core::handle_timeout`] is due next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.peek().map(|Reverse((at, name, _))| (*at, *name))
    }

    /// Says good-bye on every leg and ends every session, without telling: who stops the worker knows.
    pub fn shutdown(&mut self, now: Now, sink: &mut dyn Sink) {
        while let Some((_, key)) = self.by_id.pop_first() {
            self.guarded(now, key, sink, |session, sink| session.close(now, sink));
            self.remove(key, sink);
        }
    }

    /// Sessions at present.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The counts of one leg.
    #[must_use]
    pub fn counters(&self, session: SessionId, side: Side) -> Option<&Counters> {
        let entry = self.sessions.get(*self.by_id.get(&session)?)?;
        entry.session.leg(side).map(|leg| &leg.counters)
    }

    /// What came for nobody.
    #[must_use]
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// Runs one step of one session and arms its next deadline. A panic ends that session and no other.
    fn guarded<T>(
        &mut self,
        now: Now,
        key: DefaultKey,
        sink: &mut dyn Sink,
        step: impl FnOnce(&mut Session, &mut dyn Sink) -> T,
    ) -> Option<T> {
        let entry = self.sessions.get_mut(key)?;
        let done = catch_unwind(AssertUnwindSafe(|| step(&mut entry.session, sink)));
        let Ok(done) = done else {
            let session = entry.session.id();
            let [a, b] = self.remove(key, sink).unwrap_or_default();
            sink.event(MediaEvent::Closed { session, a, b });
            return None;
        };
        if let Some((at, name)) = entry.session.poll_timeout() {
            // A deadline that is past already fires soon, never in a loop within this turn.
            let at = at.max(now.mono + RESOLUTION);
            if entry.armed.is_none_or(|armed| at < armed) {
                entry.armed = Some(at);
                self.deadlines.push(Reverse((at, name, key)));
            }
        }
        Some(done)
    }

    fn close_leg(&mut self, leg: LegKey, sink: &mut dyn Sink) {
        if let Some(taken) = self.sessions.get_mut(leg.0).and_then(|entry| entry.session.take_leg(leg.1)) {
            self.unroute(&taken, leg, sink);
        }
    }

    fn unroute(&mut self, taken: &Leg, leg: LegKey, sink: &mut dyn Sink) {
        match &taken.transport {
            Transport::Classic(classic) => {
                self.routes.remove_ports(classic.ports);
                sink.release_pair(classic.ports);
            }
            Transport::Browser(browser) => {
                self.routes.remove_ufrag(browser.ice.ufrag(), leg);
                browser.ice.validated().for_each(|pair| self.routes.remove_pair(pair, leg));
            }
        }
    }

    fn remove(&mut self, key: DefaultKey, sink: &mut dyn Sink) -> Option<[crate::plan::LegStats; 2]> {
        let stats = self.sessions.get(key)?.session.stats();
        self.close_leg((key, Side::A), sink);
        self.close_leg((key, Side::B), sink);
        let entry = self.sessions.remove(key)?;
        self.by_id.remove(&entry.session.id());
        Some(stats)
    }
}
