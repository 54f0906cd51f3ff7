use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::browser::{Browser, Changes};
use super::buffer::Slot;
use super::classic::Classic;
use super::dtls::DtlsIdentity;
use super::flow::{Flow, Target};
use super::leg::{Leg, Transport};
use super::routes::{LegKey, Port, Routes};
use super::seat::Seat;
use super::seats::Seats;
use super::silence::Patience;
use super::stats::Counters;
use super::{Pair, Sink, SocketId};
use crate::base::{Now, Rng};
use crate::plan::{LegId, LegOpen, LegStats, MediaCommand, MediaEvent, OpenFailure};
use crate::wire::rtp::{Kind, classify};
use is::stun::StunMessage;

/// Deadlines are kept no closer than this.
const RESOLUTION: Duration = Duration::from_millis(1);

/// What a core is made of.
#[derive(Debug)]
pub struct CoreConfig {
    /// The shared sockets of the browser legs, each with its own address.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// Legs at one time.
    pub max_legs: usize,
    /// What [`Source::Music`](crate::plan::Source::Music) plays over and over: mono at 8,000 Hz. Silence when empty.
    pub music: Arc<[i16]>,
    /// A far side that should send and is silent for so long has failed; none is for ever.
    pub rtp_timeout: Option<Duration>,
    /// The same on hold.
    pub rtp_hold_timeout: Option<Duration>,
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

/// All legs of one worker.
#[derive(Debug)]
pub struct Core {
    sockets: Vec<(SocketId, SocketAddr)>,
    max_legs: usize,
    identity: Arc<DtlsIdentity>,
    pub(super) music: Arc<[i16]>,
    patience: Patience,
    rng: Rng,
    pub(super) seats: Seats,
    by_id: BTreeMap<LegId, LegKey>,
    /// Who hears a leg, by the leg that is heard: it may not be there yet.
    pub(super) listeners: BTreeMap<LegId, LegKey>,
    routes: Routes,
    /// A heap rather than [`Deadlines`](crate::base::Deadlines): it keeps its memory, so that a tone's tick allocates nothing.
    deadlines: BinaryHeap<Reverse<(Instant, &'static str, LegKey)>>,
    unrouted: Unrouted,
}

impl Core {
    /// A core without legs.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        Self {
            sockets: config.sockets,
            max_legs: config.max_legs,
            identity: Arc::new(config.identity),
            music: config.music,
            patience: Patience { flowing: config.rtp_timeout, held: config.rtp_hold_timeout },
            rng: config.rng,
            seats: Seats::with_capacity(config.max_legs.min(4_096)),
            by_id: BTreeMap::new(),
            listeners: BTreeMap::new(),
            routes: Routes::default(),
            // Stale ones stay until their time: a leg that is busy with keys leaves a few a second behind.
            deadlines: BinaryHeap::with_capacity(config.max_legs.min(4_096) * 32),
            unrouted: Unrouted::default(),
        }
    }

    /// Carries out one command of signalling. One about a leg that does not exist (any more) is ignored, but Close, which is
    /// always answered.
    pub fn handle_command(&mut self, now: Now, command: MediaCommand, sink: &mut dyn Sink) {
        match command {
            MediaCommand::Open { leg, how } => {
                let event = match self.open(now, leg, how, sink) {
                    Ok(local) => MediaEvent::Opened { leg, local },
                    Err(cause) => MediaEvent::OpenFailed { leg, cause },
                };
                sink.event(event);
            }
            MediaCommand::SetRemote { leg, remote } => {
                let Some(key) = self.key(leg) else { return };
                let identity = Arc::clone(&self.identity);
                let changes = self.step(now, key, sink, |seat, _, sink| seat.set_remote(now, &remote, &identity, sink));
                self.reroute(key, changes.unwrap_or_default());
            }
            MediaCommand::RestartIce { leg, ice_ufrag, ice_pwd } => {
                if let Some(key) = self.key(leg) {
                    self.restart_ice(now, key, ice_ufrag, ice_pwd, sink);
                }
            }
            MediaCommand::SetPath { leg, plan, hears } => self.set_path(now, leg, plan, hears, sink),
            MediaCommand::Dtmf { leg, event, duration_ms } => {
                if let Some(key) = self.key(leg) {
                    self.step(now, key, sink, |seat, _, _| seat.leg.press_key(now.mono, event, duration_ms));
                }
            }
            MediaCommand::Close { leg } => {
                let stats = self.close(now, leg, sink).unwrap_or_default();
                sink.event(MediaEvent::Closed { leg, stats });
            }
        }
    }

    fn open(&mut self, now: Now, id: LegId, how: LegOpen, sink: &mut dyn Sink) -> Result<Vec<SocketAddr>, OpenFailure> {
        // Said again, the old one is gone: ids are never used twice.
        self.close(now, id, sink);
        if self.seats.len() >= self.max_legs {
            return Err(OpenFailure::TooManyLegs);
        }
        let (transport, local) = match how {
            LegOpen::Rtp { local } => {
                let ports = sink.bind_pair(local)?;
                (Transport::Classic(Classic::new(ports)), vec![ports.local])
            }
            LegOpen::WebRtc { ice_ufrag, ice_pwd } => {
                let local = self.sockets.iter().map(|(_, addr)| *addr).collect();
                (Transport::Browser(Box::new(Browser::new(ice_ufrag, ice_pwd, &self.sockets))), local)
            }
        };
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let key = self.seats.insert(Seat::new(Leg::new(id, transport, self.patience, Rng::from_seed(seed))));
        self.by_id.insert(id, key);
        match &self.seats.get(key).expect("it was just put in").leg.transport {
            Transport::Classic(classic) => self.routes.add_ports(classic.ports, key),
            Transport::Browser(browser) => browser.ice.ufrags().for_each(|ufrag| self.routes.add_ufrag(ufrag, key)),
        }
        Ok(local)
    }

    /// Where a leg is.
    pub(super) fn key(&self, id: LegId) -> Option<LegKey> {
        self.by_id.get(&id).copied()
    }

    /// Handles one datagram that arrived on one of our sockets; `slot` may be changed.
    pub fn handle_datagram(&mut self, now: Now, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        if let Some((key, port)) = self.routes.socket(pair.socket) {
            // With rtcp-mux both share the RTP port (RFC 5761).
            let rtcp = port == Port::Rtcp || classify(slot.data()) == Kind::Rtcp;
            self.step(now, key, sink, |seat, hearer, sink| match rtcp {
                true => seat.leg.on_rtcp(now, pair, slot),
                false => seat.on_rtp(now, pair, slot, hearer, sink),
            });
            return;
        }
        match (classify(slot.data()), self.routes.pair(pair)) {
            (Kind::Stun, _) => self.on_stun(now, pair, slot, sink),
            (Kind::Dtls, Some(key)) => {
                self.step(now, key, sink, |seat, _, sink| seat.on_dtls(now, pair, slot.data(), sink));
            }
            (Kind::Rtp, Some(key)) => {
                self.step(now, key, sink, |seat, hearer, sink| seat.on_rtp(now, pair, slot, hearer, sink));
            }
            (Kind::Rtcp, Some(key)) => {
                self.step(now, key, sink, |seat, _, _| seat.leg.on_rtcp(now, pair, slot));
            }
            (Kind::Dtls, None) => self.unrouted.dtls += 1,
            (Kind::Rtp | Kind::Rtcp, None) => self.unrouted.rtp += 1,
            (Kind::Unknown, _) => self.unrouted.unknown += 1,
        }
    }

    fn on_stun(&mut self, now: Now, pair: Pair, slot: &Slot, sink: &mut dyn Sink) {
        let message = StunMessage::parse(slot.data()).ok().filter(StunMessage::is_binding_request);
        let leg = message.as_ref().and_then(|message| self.routes.ufrag(message.split_username()?.0));
        let (Some(message), Some(key)) = (message, leg) else {
            self.unrouted.stun += 1;
            return;
        };
        let identity = Arc::clone(&self.identity);
        let changes = self.step(now, key, sink, |seat, _, sink| seat.on_stun(now, pair, message, &identity, sink));
        self.reroute(key, changes.unwrap_or_default());
    }

    fn restart_ice(&mut self, now: Now, key: LegKey, ufrag: String, pwd: String, sink: &mut dyn Sink) {
        let named = ufrag.clone();
        let restarted = self.step(now, key, sink, |seat, _, _| Some(seat.browser()?.ice.restart(ufrag, pwd)));
        if let Some(retired) = restarted.flatten() {
            self.routes.add_ufrag(&named, key);
            retired.iter().for_each(|ufrag| self.routes.remove_ufrag(ufrag, key));
        }
    }

    fn reroute(&mut self, key: LegKey, changes: Changes) {
        for checked in changes {
            if let Some(pair) = checked.forgotten {
                self.routes.remove_pair(pair, key);
            }
            if let Some(pair) = checked.validated {
                self.routes.add_pair(pair, key);
            }
            if let Some(ufrag) = checked.retired {
                self.routes.remove_ufrag(&ufrag, key);
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
            let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.armed == Some(at)) else { continue };
            seat.armed = None;
            self.step(now, key, sink, |seat, hearer, sink| seat.handle_timeout(now, hearer, sink));
        }
    }

    /// When [`Core::handle_timeout`] is due next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.peek().map(|Reverse((at, name, _))| (*at, *name))
    }

    /// Says good-bye on every leg and ends them all, without telling: who stops the worker knows.
    pub fn shutdown(&mut self, now: Now, sink: &mut dyn Sink) {
        while let Some(id) = self.by_id.keys().next().copied() {
            self.close(now, id, sink);
        }
    }

    /// Legs at present.
    #[must_use]
    pub fn leg_count(&self) -> usize {
        self.seats.len()
    }

    /// The counts of one leg.
    #[must_use]
    pub fn counters(&self, leg: LegId) -> Option<&Counters> {
        self.seats.get(self.key(leg)?).map(|seat| &seat.leg.counters)
    }

    /// What came for nobody.
    #[must_use]
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// One step of one leg, with who hears it.
    pub(super) fn step<T>(
        &mut self,
        now: Now,
        key: LegKey,
        sink: &mut dyn Sink,
        step: impl FnOnce(&mut Seat, Option<&mut Leg>, &mut dyn Sink) -> T,
    ) -> Option<T> {
        let done = self.guarded(now, key, sink, |seats, sink| {
            let (seat, hearer) = seats.with_hearer(key)?;
            Some(step(seat, hearer, sink))
        });
        done.flatten()
    }

    /// Runs something of one leg's, and arms the next deadline of that and of who hears it. A panic ends that leg alone.
    pub(super) fn guarded<T>(
        &mut self,
        now: Now,
        key: LegKey,
        sink: &mut dyn Sink,
        step: impl FnOnce(&mut Seats, &mut dyn Sink) -> T,
    ) -> Option<T> {
        let id = self.seats.get(key)?.leg.id;
        let Ok(done) = catch_unwind(AssertUnwindSafe(|| step(&mut self.seats, sink))) else {
            let stats = self.remove(now, id, sink).unwrap_or_default();
            sink.event(MediaEvent::Closed { leg: id, stats });
            return None;
        };
        self.arm(now, key);
        if let Some(Target::Leg(hearer)) = self.seats.get(key).map(|seat| seat.flow.target()) {
            self.arm(now, hearer);
        }
        Some(done)
    }

    fn arm(&mut self, now: Now, key: LegKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if let Some((at, name)) = seat.poll_timeout() {
            // A deadline that is past already fires soon, never in a loop within this turn.
            let at = at.max(now.mono + RESOLUTION);
            if seat.armed.is_none_or(|armed| at < armed) {
                seat.armed = Some(at);
                self.deadlines.push(Reverse((at, name, key)));
            }
        }
    }

    /// Says good-bye and ends a leg; what it did, if it was there.
    fn close(&mut self, now: Now, id: LegId, sink: &mut dyn Sink) -> Option<LegStats> {
        let key = self.key(id)?;
        self.step(now, key, sink, |seat, hearer, sink| {
            seat.lay(now.mono, Flow::default(), hearer, sink);
            seat.leg.close(now, sink);
        })?;
        self.remove(now, id, sink)
    }

    fn remove(&mut self, now: Now, id: LegId, sink: &mut dyn Sink) -> Option<LegStats> {
        let key = self.by_id.remove(&id)?;
        let seat = self.seats.remove(key)?;
        match &seat.leg.transport {
            Transport::Classic(classic) => {
                self.routes.remove_ports(classic.ports);
                sink.release_pair(classic.ports);
            }
            Transport::Browser(browser) => {
                browser.ice.ufrags().for_each(|ufrag| self.routes.remove_ufrag(ufrag, key));
                browser.ice.validated().for_each(|pair| self.routes.remove_pair(pair, key));
            }
        }
        self.part(now, id, seat.hears, sink);
        Some(seat.leg.stats())
    }
}
