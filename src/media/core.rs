use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::browser::{Browser, Changes};
use super::buffer::Slot;
use super::classic::Classic;
use super::dtls::DtlsIdentity;
use super::flow::{Flow, Target};
use super::leg::{Leg, Transport};
use super::moving::RouteChange;
use super::routes::{Address, LegKey, Port, Routes, Whose};
use super::seat::Seat;
use super::seats::Seats;
use super::silence::Patience;
use super::stats::{Counters, Totals, Traffic};
use super::{Pair, PortPair, Sink, SocketId, WorkerId};
use crate::base::{Now, Rng, prefetch};
use crate::plan::{LegId, LegOpen, LegRemote, LegStats, MediaCommand, MediaEvent, OpenFailure, RtpPort};
use crate::wire::rtp::{Kind, classify};
use is::stun::StunMessage;

/// Deadlines are kept no closer than this.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Room in the heap of deadlines, a leg: one is in force, the others are stale ones that wait for their time. When the room is
/// full the stale ones are thrown out.
const DEADLINES_A_LEG: usize = 4;

/// The leg of the datagram that [`Core::prefetch`] was told of last.
#[derive(Debug, Default)]
pub struct Lookahead(Option<LegKey>);

/// What a core is made of.
#[derive(Debug)]
pub struct CoreConfig {
    /// Which worker's it is.
    pub worker: WorkerId,
    /// The shared sockets of the browser legs, each with its own address.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// The shared ports of the classic legs, on each address one pair at most.
    pub ports: Vec<PortPair>,
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

/// All legs of one worker.
#[derive(Debug)]
pub struct Core {
    pub(super) worker: WorkerId,
    sockets: Vec<(SocketId, SocketAddr)>,
    ports: Vec<PortPair>,
    max_legs: usize,
    identity: Arc<DtlsIdentity>,
    pub(super) music: Arc<[i16]>,
    patience: Patience,
    rng: Rng,
    pub(super) seats: Seats,
    pub(super) by_id: BTreeMap<LegId, LegKey>,
    /// Who hears a leg, by the leg that is heard: it may not be there yet.
    pub(super) listeners: BTreeMap<LegId, LegKey>,
    pub(super) routes: Routes,
    /// A heap rather than [`Deadlines`](crate::base::Deadlines): it keeps its memory, so that a tone's tick allocates nothing.
    deadlines: BinaryHeap<Reverse<(Instant, LegKey)>>,
    traffic: Traffic,
    /// RTP packets of the legs that have ended.
    ended: Counters,
}

impl Core {
    /// A core without legs.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        Self {
            worker: config.worker,
            sockets: config.sockets,
            ports: config.ports,
            max_legs: config.max_legs,
            identity: Arc::new(config.identity),
            music: config.music,
            patience: Patience { flowing: config.rtp_timeout, held: config.rtp_hold_timeout },
            rng: config.rng,
            seats: Seats::with_capacity(config.max_legs.min(4_096)),
            by_id: BTreeMap::new(),
            listeners: BTreeMap::new(),
            routes: Routes::default(),
            deadlines: BinaryHeap::with_capacity(config.max_legs.min(4_096) * DEADLINES_A_LEG),
            traffic: Traffic::default(),
            ended: Counters::default(),
        }
    }

    /// Carries out one command of signalling. One about a leg that does not exist (any more) is ignored, but Close, which is
    /// always answered.
    pub fn handle_command(&mut self, now: Now, command: MediaCommand, sink: &mut dyn Sink) {
        match command {
            MediaCommand::Open { leg, how, beside: _ } => {
                let event = match self.open(now, leg, how, sink) {
                    Ok(local) => MediaEvent::Opened { leg, local },
                    Err(cause) => MediaEvent::OpenFailed { leg, cause },
                };
                sink.event(event);
            }
            MediaCommand::SetRemote { leg, remote } => {
                if let Some(key) = self.key(leg) {
                    self.set_remote(now, key, &remote, sink);
                }
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
            LegOpen::Rtp { local, port } => {
                let classic = self.open_classic(local, port, sink)?;
                let local = classic.ports.local;
                (Transport::Classic(classic), vec![local])
            }
            LegOpen::WebRtc { ice_ufrag, ice_pwd } => {
                let local = self.sockets.iter().map(|(_, addr)| *addr).collect();
                (Transport::Browser(Box::new(Browser::new(self.worker, ice_ufrag, ice_pwd))), local)
            }
        };
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let key = self.seats.insert(Seat::new(Leg::new(id, transport, self.patience, Rng::from_seed(seed))));
        self.by_id.insert(id, key);
        let leg = &mut self.seats.get_mut(key).expect("it was just put in").leg;
        leg.own_ports().into_iter().for_each(|ports| self.routes.add_ports(*ports, key));
        leg.addresses().into_iter().for_each(|address| self.routes.claim(address, Whose::Here(key)));
        Ok(local)
    }

    fn open_classic(&self, local: IpAddr, port: RtpPort, sink: &mut dyn Sink) -> Result<Classic, OpenFailure> {
        let shared = match port {
            RtpPort::Own => None,
            RtpPort::Shared { remote } => self.ports.iter().find(|ports| ports.local.ip() == local).filter(|ports| {
                // A call that comes back to us is heard from our own port, as whoever sends it is.
                remote
                    .is_none_or(|remote| remote != ports.local && self.routes.pair(Pair { socket: ports.rtp, remote }).is_none())
            }),
        };
        let Some(ports) = shared else { return Ok(Classic::new(sink.bind_pair(local)?, None)) };
        let mut classic = Classic::new(*ports, Some(self.worker));
        if let RtpPort::Shared { remote: Some(remote) } = port {
            // The address is this leg's from now on; all else that SDP says of it is still to come.
            classic.set_remote(remote, remote, false);
        }
        Ok(classic)
    }

    fn set_remote(&mut self, now: Now, key: LegKey, remote: &LegRemote, sink: &mut dyn Sink) {
        let announced = |core: &Self| match &core.seats.get(key)?.leg.transport {
            Transport::Classic(classic) => Some(classic.announced()),
            Transport::Browser(_) => None,
        };
        let before = announced(self).unwrap_or_default();
        let identity = Arc::clone(&self.identity);
        let changes = self.step(now, key, sink, |seat, _, sink| seat.set_remote(now, remote, &identity, sink));
        self.reroute(key, changes.unwrap_or_default(), sink);
        let after = announced(self).unwrap_or_default();
        before
            .into_iter()
            .filter(|pair| !after.contains(pair))
            .for_each(|pair| self.unroute(key, Address::Announced(pair), sink));
        after.iter().for_each(|pair| self.route(key, Address::Announced(*pair), sink));
    }

    /// Where a leg is.
    pub(super) fn key(&self, id: LegId) -> Option<LegKey> {
        self.by_id.get(&id).copied()
    }

    /// Handles one datagram that arrived on one of our sockets, or on another worker's for a leg that lives here; `slot` may be
    /// changed.
    pub fn handle_datagram(&mut self, now: Now, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        self.traffic.received += 1;
        if let Some((key, port)) = self.routes.socket(pair.socket) {
            // With rtcp-mux both share the RTP port (RFC 5761).
            let rtcp = port == Port::Rtcp || classify(slot.data()) == Kind::Rtcp;
            return if rtcp { self.on_rtcp(now, key, pair, slot, sink) } else { self.on_rtp(now, key, pair, slot, sink) };
        }
        match (classify(slot.data()), self.routes.pair(pair)) {
            // No check proves whose a classic far side's address is.
            (Kind::Stun, _) if self.is_classic(pair.socket) => self.traffic.unrouted.stun += 1,
            (Kind::Stun, _) => self.on_stun(now, pair, slot, sink),
            (Kind::Rtp, Some(Whose::Here(key))) => self.on_rtp(now, key, pair, slot, sink),
            (Kind::Rtcp, Some(Whose::Here(key))) => self.on_rtcp(now, key, pair, slot, sink),
            (Kind::Dtls, Some(Whose::Here(key))) => {
                let done = self.step(now, key, sink, |seat, _, sink| seat.on_dtls(now, pair, slot.data(), sink));
                self.tally(done.is_some(), |traffic| &mut traffic.dtls);
            }
            (Kind::Rtp | Kind::Rtcp | Kind::Dtls, Some(Whose::Away(leg))) => self.hand_over(leg, pair, slot, sink),
            (Kind::Dtls, None) => self.traffic.unrouted.dtls += 1,
            (Kind::Rtp, None) => self.on_stray_rtp(now, pair, slot, sink),
            (Kind::Rtcp, None) => self.traffic.unrouted.rtp += 1,
            (Kind::Unknown, _) => self.traffic.unrouted.unknown += 1,
        }
    }

    /// Brings into the cache what a datagram that will be handled soon needs. Each call tells of one more, in their order, by its
    /// socket and its remote (where that is known yet): its leg is brought, and of the one before it, whose leg is there by now,
    /// whatever that points to, who hears it before all.
    pub fn prefetch(&self, ahead: &mut Lookahead, datagram: Option<(SocketId, Option<SocketAddr>)>) {
        if let Some(seat) = ahead.0.and_then(|before| self.seats.get(before)) {
            if let Transport::Browser(browser) = &seat.leg.transport {
                prefetch(&**browser);
            }
            if let Target::Leg(hearer) = seat.flow.target() {
                self.seats.get(hearer).into_iter().for_each(prefetch);
            }
        }
        ahead.0 = datagram.and_then(|(socket, remote)| match self.routes.socket(socket) {
            Some((key, _)) => Some(key),
            None => match self.routes.pair(Pair { socket, remote: remote? })? {
                Whose::Here(key) => Some(key),
                Whose::Away(_) => None,
            },
        });
        ahead.0.and_then(|key| self.seats.get(key)).into_iter().for_each(prefetch);
    }

    /// A datagram came that no slot could hold.
    pub fn refuse_too_long(&mut self) {
        self.traffic.received += 1;
        self.traffic.unrouted.too_long += 1;
    }

    fn on_rtp(&mut self, now: Now, key: LegKey, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        let done = self.contained(now, key, sink, |seats, sink| {
            let (seat, hearer, pcm) = seats.with_hearer_and_pcm(key)?;
            Some(seat.on_rtp(now, pair, slot, hearer, pcm, sink))
        });
        let done = done.flatten();
        // Most packets move no deadline nearer, and to look at all of both legs would cost half as much again as to carry one.
        if done == Some(true) {
            self.arm_with_hearer(now, key);
        }
        self.tally(done.is_some(), |traffic| &mut traffic.rtp);
    }

    /// RTP from an address that no SDP names. Where one classic leg alone has its far side on that host, it is told, which refuses
    /// and counts it: who asks why there is no sound learns that something came.
    fn on_stray_rtp(&mut self, now: Now, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        let host = if self.is_classic(pair.socket) { self.routes.host(pair) } else { None };
        match host {
            Some(Whose::Here(key)) => self.on_rtp(now, key, pair, slot, sink),
            Some(Whose::Away(_)) | None => self.traffic.unrouted.rtp += 1,
        }
    }

    /// Whether it is one that our classic legs share.
    fn is_classic(&self, socket: SocketId) -> bool {
        self.ports.iter().any(|ports| [ports.rtp, ports.rtcp].contains(&socket))
    }

    fn on_rtcp(&mut self, now: Now, key: LegKey, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        let done = self.step(now, key, sink, |seat, _, _| seat.leg.on_rtcp(now, pair, slot));
        self.tally(done.is_some(), |traffic| &mut traffic.rtcp);
    }

    fn on_stun(&mut self, now: Now, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        let message = StunMessage::parse(slot.data()).ok().filter(StunMessage::is_binding_request);
        let whose = message.as_ref().and_then(|message| self.routes.ufrag(message.split_username()?.0));
        match (message, whose) {
            (Some(message), Some(Whose::Here(key))) => {
                let identity = Arc::clone(&self.identity);
                let changes = self.step(now, key, sink, |seat, _, sink| seat.on_stun(now, pair, message, &identity, sink));
                self.tally(changes.is_some(), |traffic| &mut traffic.stun);
                self.reroute(key, changes.unwrap_or_default(), sink);
            }
            (Some(_), Some(Whose::Away(leg))) => self.hand_over(leg, pair, slot, sink),
            (_, None) | (None, _) => self.traffic.unrouted.stun += 1,
        }
    }

    /// Counts a datagram that was for a leg, unless the leg broke over it.
    fn tally(&mut self, done: bool, counter: impl FnOnce(&mut Traffic) -> &mut u64) {
        *(if done { counter(&mut self.traffic) } else { &mut self.traffic.broken }) += 1;
    }

    fn hand_over(&mut self, leg: LegId, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) {
        let taken = self.routes.away(leg).is_some_and(|at| sink.hand_over(at, slot, pair));
        let counter = if taken { &mut self.traffic.handed_over } else { &mut self.traffic.not_taken_over };
        *counter += 1;
    }

    fn restart_ice(&mut self, now: Now, key: LegKey, ufrag: String, pwd: String, sink: &mut dyn Sink) {
        let named = ufrag.clone();
        let restarted = self.step(now, key, sink, |seat, _, _| Some(seat.browser()?.ice.restart(ufrag, pwd)));
        if let Some(retired) = restarted.flatten() {
            self.route(key, Address::Ufrag(named), sink);
            retired.into_iter().for_each(|ufrag| self.unroute(key, Address::Ufrag(ufrag), sink));
        }
    }

    fn reroute(&mut self, key: LegKey, changes: Changes, sink: &mut dyn Sink) {
        for checked in changes {
            if let Some(pair) = checked.forgotten {
                self.unroute(key, Address::Pair(pair), sink);
            }
            if let Some(pair) = checked.validated {
                self.route(key, Address::Pair(pair), sink);
            }
            if let Some(ufrag) = checked.retired {
                self.unroute(key, Address::Ufrag(ufrag), sink);
            }
        }
    }

    fn route(&mut self, key: LegKey, address: Address, sink: &mut dyn Sink) {
        if let Some((leg, home)) = self.abroad(key) {
            sink.tell_route(home, RouteChange::Add(leg, address.clone()));
        }
        self.routes.claim(address, Whose::Here(key));
    }

    fn unroute(&mut self, key: LegKey, address: Address, sink: &mut dyn Sink) {
        self.routes.remove(&address, Whose::Here(key));
        if let Some((leg, home)) = self.abroad(key) {
            sink.tell_route(home, RouteChange::Remove(leg, address));
        }
    }

    /// A leg that was opened on another worker's shared port, and which worker's.
    fn abroad(&self, key: LegKey) -> Option<(LegId, WorkerId)> {
        let leg = &self.seats.get(key)?.leg;
        leg.home().filter(|home| *home != self.worker).map(|home| (leg.id, home))
    }

    /// Does whatever is due at `now`. What was put off since it was armed is armed anew, so that nobody wakes up for it.
    pub fn handle_timeout(&mut self, now: Now, sink: &mut dyn Sink) {
        while let Some(Reverse((at, key))) = self.deadlines.peek().copied() {
            let seat = self.seats.get_mut(key).filter(|seat| seat.is_armed_for(at));
            let is_due = at <= now.mono;
            if !is_due && seat.as_ref().is_some_and(|seat| seat.poll_timeout().is_some_and(|(next, _)| next <= at)) {
                break;
            }
            self.deadlines.pop();
            let Some(seat) = seat else { continue };
            seat.armed = None;
            if is_due {
                self.step(now, key, sink, |seat, hearer, sink| seat.handle_timeout(now, hearer, sink));
            } else {
                self.arm(now, key);
            }
        }
    }

    /// When [`Core::handle_timeout`] is due next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let Reverse((at, key)) = *self.deadlines.peek()?;
        let armed = self.seats.get(key).filter(|seat| seat.is_armed_for(at)).and_then(|seat| seat.armed);
        Some(armed.unwrap_or((at, "stale")))
    }

    /// A deadline that nobody will wake up for, whose and which: none, as long as whatever moves one nearer says so, which tests ask.
    #[must_use]
    pub fn forgotten_deadline(&self, now: Now) -> Option<(LegId, &'static str)> {
        self.seats.iter().find_map(|(_, seat)| {
            let (at, name) = seat.poll_timeout()?;
            let kept = seat.armed.is_some_and(|(armed, _)| armed <= at.max(now.mono + RESOLUTION));
            (!kept).then_some((seat.leg.id, name))
        })
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

    /// All that was counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { traffic: self.traffic, legs: self.ended };
        self.by_id.values().filter_map(|key| self.seats.get(*key)).for_each(|seat| totals.legs += seat.leg.counters);
        totals
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
        let done = self.contained(now, key, sink, step)?;
        self.arm_with_hearer(now, key);
        Some(done)
    }

    /// Runs something of one leg's. A panic ends that leg alone.
    fn contained<T>(
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
        Some(done)
    }

    fn arm_with_hearer(&mut self, now: Now, key: LegKey) {
        self.arm(now, key);
        if let Some(Target::Leg(hearer)) = self.seats.get(key).map(|seat| seat.flow.target()) {
            self.arm(now, hearer);
        }
    }

    pub(super) fn arm(&mut self, now: Now, key: LegKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if let Some((at, name)) = seat.poll_timeout() {
            // A deadline that is past already fires soon, never in a loop within this turn.
            let at = at.max(now.mono + RESOLUTION);
            if seat.armed.is_none_or(|(armed, _)| at < armed) {
                seat.armed = Some((at, name));
                if self.deadlines.len() < self.deadlines.capacity() {
                    self.deadlines.push(Reverse((at, key)));
                } else {
                    self.weed_deadlines();
                }
            }
        }
    }

    /// Leaves those that are in force, and room for as many again: more only if more legs were adopted than may be opened.
    fn weed_deadlines(&mut self) {
        self.deadlines.clear();
        self.deadlines.reserve(2 * self.seats.len());
        self.deadlines.extend(self.seats.iter().filter_map(|(key, seat)| Some(Reverse((seat.armed?.0, key)))));
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
        for address in self.seats.get(key)?.leg.addresses() {
            self.unroute(key, address, sink);
        }
        if let Some((leg, home)) = self.abroad(key) {
            sink.tell_route(home, RouteChange::Gone(leg));
        }
        let mut seat = self.seats.remove(key)?;
        self.ended += seat.leg.counters;
        if let Some(ports) = seat.leg.own_ports() {
            self.routes.remove_ports(*ports);
            sink.release_pair(*ports);
        }
        self.part(now, id, seat.hears, sink);
        Some(seat.leg.stats())
    }
}
