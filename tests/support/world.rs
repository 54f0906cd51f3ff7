//! A simulated world: one engine, scripted peers, a network that loses, doubles and reorders datagrams, a directory and a
//! media half that answer after a while. Its clock is its own, its chance comes from a seed: every run can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway::base::{Now, Rng};
use ringway::plan::{Codec, LegId, LegOpen, LegPlan, LegRemote, LegStats, MediaCommand, MediaEvent, Source};
use ringway::policy::account::{Account, Ha1};
use ringway::policy::dialplan::{self, Dialplan};
use ringway::policy::profile::{self, DigestAlgorithm, Profile};
use ringway::signalling::call::CallTimes;
use ringway::signalling::engine::{Engine, EngineConfig, Input, Output, Peer as TrustedPeer};
use ringway::signalling::message::{KeepError, Kept, KeptLetter, Letter, MAX_KEPT, Waiting};
use ringway::signalling::record::{CallRecord, TraceRecord};
use ringway::signalling::registrar::RegistrarLimits;
use ringway::signalling::{Connection, ConnectionId, Flow};
use ringway::wire::sdp::Fingerprint;

use super::peer::Peer;

/// How long the store takes to answer.
const STORE: Duration = Duration::from_millis(2);
pub const GATEWAY: &str = "10.0.0.1:5060";

/// What the network does to each datagram.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// In percent.
    pub loss: u32,
    /// In percent.
    pub duplication: u32,
    /// One way, from and to; datagrams overtake each other within it.
    pub delay_ms: (u32, u32),
}

impl Weather {
    pub const CALM: Self = Self { loss: 0, duplication: 0, delay_ms: (10, 10) };
    /// What the issue of the first call asks for: a fifth lost, and doubled and reordered beside.
    pub const ROUGH: Self = Self { loss: 20, duplication: 10, delay_ms: (5, 400) };
}

/// What a peer hears in one of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    Nothing,
    Peer(usize, usize),
    Music,
    Ringback,
    Itself,
    Tone,
}

enum Event {
    ToEngine(Input),
    ToPeer(usize, Bytes),
}

pub struct World {
    pub now: Now,
    pub engine: Engine,
    pub peers: Vec<Peer>,
    pub weather: Weather,
    pub records: Vec<CallRecord>,
    pub ladder: Vec<TraceRecord>,
    /// Legs that media holds, and what each was told last.
    pub legs: BTreeMap<LegId, Option<(LegPlan, Source)>>,
    /// All paths that were ever set.
    pub paths: Vec<(LegId, LegPlan, Source)>,
    /// All remote ends that media was told.
    pub remotes: Vec<(LegId, LegRemote)>,
    /// All legs that media was told to open, and how.
    pub opened: Vec<(LegId, LegOpen)>,
    /// Legs whose ICE was started anew, with our user fragment from then on.
    pub restarts: Vec<(LegId, String)>,
    /// All keys that media was told to press.
    pub keys: Vec<(LegId, u8, u32)>,
    /// What the store keeps, by account.
    pub kept: BTreeMap<String, Vec<KeptLetter>>,
    letters: u64,
    rng: Rng,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
    next_port: u16,
    /// When the last message was put on each WebSocket, each way: they keep their order.
    order: BTreeMap<(usize, bool), Instant>,
    closed: BTreeSet<usize>,
    /// Which connection each peer's WebSocket is.
    connections: BTreeMap<usize, ConnectionId>,
    out: Vec<Output>,
}

pub fn profile(name: &str) -> Arc<Profile> {
    profile::built_in().remove(name).expect("a built-in profile")
}

pub fn config(peers: Vec<TrustedPeer>) -> EngineConfig {
    EngineConfig {
        domain: "sim.test".into(),
        udp: vec![GATEWAY.parse().expect("an address")],
        browser: profile("jssip"),
        phone: Arc::new(Profile {
            digest: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            ..Profile::clone(&profile("generic-phone"))
        }),
        peers,
        dialplan: Dialplan::parse(dialplan::DEFAULT.0, dialplan::DEFAULT.1).expect("the built-in dialplan"),
        fingerprint: Fingerprint([7; 32]),
        times: CallTimes { ring: Duration::from_secs(60), grace: Duration::from_secs(5) },
        registrar: RegistrarLimits { min_expires_secs: 60, max_expires_secs: 3_600, default_expires_secs: 600, max_bindings: 10 },
        nonce_lifetime: Duration::from_secs(300),
        max_calls: 100,
        max_transactions: 1_000,
    }
}

impl World {
    pub fn new(seed: u64, weather: Weather, config: EngineConfig) -> Self {
        let mut rng = Rng::from_number(seed);
        let engine_rng = Rng::from_number(rng.next_u64());
        Self {
            now: Now { mono: Instant::now(), unix: Duration::from_secs(1_800_000_000) },
            engine: Engine::new(config, engine_rng),
            peers: Vec::new(),
            weather,
            records: Vec::new(),
            ladder: Vec::new(),
            legs: BTreeMap::new(),
            paths: Vec::new(),
            remotes: Vec::new(),
            opened: Vec::new(),
            restarts: Vec::new(),
            keys: Vec::new(),
            kept: BTreeMap::new(),
            letters: 0,
            rng,
            events: BTreeMap::new(),
            serial: 0,
            next_port: 20_000,
            order: BTreeMap::new(),
            closed: BTreeSet::new(),
            connections: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    /// Adds a peer; a WebSocket is opened at once.
    pub fn add(&mut self, name: &str, websocket: bool) -> usize {
        let at = self.peers.len();
        let addr = SocketAddr::from(([10, 0, 1, u8::try_from(at).expect("few peers") + 1], 5060));
        self.peers.push(Peer::new(name, addr, websocket, self.now.mono));
        if websocket {
            self.connect(at);
        }
        at
    }

    fn connect(&mut self, at: usize) {
        self.serial += 1;
        let connection = ConnectionId(self.serial);
        self.connections.insert(at, connection);
        let remote = self.peers[at].addr;
        let about = Connection { local: "10.0.0.1:8443".parse().expect("an address"), remote, secure: true };
        self.input(Input::Opened { connection, about });
    }

    /// A peer whose WebSocket broke opens another one, and registers over it.
    pub fn reconnect(&mut self, at: usize) {
        self.closed.remove(&at);
        self.connect(at);
        self.peers[at].registered = false;
        self.act(at, Peer::register);
    }

    pub fn flow_of(&self, at: usize) -> Flow {
        if self.peers[at].websocket {
            Flow::WebSocket(self.connections[&at])
        } else {
            Flow::Udp { local: GATEWAY.parse().expect("an address"), remote: self.peers[at].addr }
        }
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.rng.next_u32() % 100 < chance
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    fn delay(&mut self) -> Duration {
        let (from, to) = self.weather.delay_ms;
        Duration::from_millis(u64::from(from + self.rng.next_u32() % (to - from + 1)))
    }

    fn carry(&mut self, peer: usize, to_engine: bool, bytes: Bytes) {
        let copies = if self.peers[peer].websocket {
            1
        } else if self.percent(self.weather.loss) {
            0
        } else {
            1 + u32::from(self.percent(self.weather.duplication))
        };
        for _ in 0..copies {
            let mut at = self.now.mono + self.delay();
            if self.peers[peer].websocket {
                let last = self.order.entry((peer, to_engine)).or_insert(at);
                at = at.max(*last);
                *last = at;
            }
            let event = if to_engine {
                Event::ToEngine(Input::Message { flow: self.flow_of(peer), bytes: bytes.clone() })
            } else {
                Event::ToPeer(peer, bytes.clone())
            };
            self.schedule(at, event);
        }
    }

    pub fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input, &mut self.out);
        self.flush_engine();
    }

    fn flush_engine(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Send { flow, bytes } => {
                    let to = (0..self.peers.len()).find(|at| self.flow_of(*at) == flow);
                    if let Some(to) = to.filter(|to| !self.closed.contains(to)) {
                        self.carry(to, false, bytes);
                    }
                }
                Output::Query { query, name_or_number } => {
                    let known = self.peers.iter().any(|p| p.name == name_or_number);
                    let account = known.then(|| Account {
                        ha1: Ha1::of(&name_or_number, "sim.test", &Peer::password(&name_or_number)),
                        name: name_or_number,
                        number: None,
                        display_name: None,
                    });
                    let at = self.now.mono + Duration::from_millis(2);
                    self.schedule(at, Event::ToEngine(Input::Account { query, account: Ok(account) }));
                }
                Output::KeepMessage { query, account, letter } => {
                    let kept = self.keep(account, *letter);
                    self.schedule(self.now.mono + STORE, Event::ToEngine(Input::MessageKept { query, kept }));
                }
                Output::LoadMessages { query, account, taken } => {
                    let kept = self.kept.entry(account).or_default();
                    kept.retain(|letter| Some(letter.id) != taken && letter.letter.expires_unix_ms > self.now.unix_ms());
                    let waiting = Waiting { oldest: kept.first().cloned(), count: kept.len() as u32 };
                    self.schedule(self.now.mono + STORE, Event::ToEngine(Input::Messages { query, waiting: Ok(waiting) }));
                }
                Output::Media(command) => self.on_media(command),
                Output::Record(record) => self.records.push(*record),
                Output::Trace(record) => self.ladder.push(*record),
            }
        }
    }

    fn keep(&mut self, account: String, letter: Letter) -> Result<Kept, KeepError> {
        let kept = self.kept.entry(account).or_default();
        if kept.len() >= MAX_KEPT as usize {
            return Err(KeepError::Full);
        }
        self.letters += 1;
        kept.push(KeptLetter { id: self.letters, letter });
        Ok(Kept { id: self.letters, count: kept.len() as u32 })
    }

    /// A media half that makes what it is asked for, after a millisecond.
    fn on_media(&mut self, command: MediaCommand) {
        let at = self.now.mono + Duration::from_millis(1);
        let event = match command {
            MediaCommand::Open { leg, how, .. } => {
                self.opened.push((leg, how));
                assert!(self.legs.insert(leg, None).is_none(), "each leg is opened once");
                self.next_port = if self.next_port > 60_000 { 20_000 } else { self.next_port + 2 };
                let local = vec![SocketAddr::from(([10, 0, 0, 1], self.next_port))];
                MediaEvent::Opened { leg, local }
            }
            MediaCommand::SetPath { leg, plan, hears } => {
                *self.legs.get_mut(&leg).expect("a path for a leg that is open") = Some((plan, hears));
                self.paths.push((leg, plan, hears));
                self.check_media();
                return;
            }
            MediaCommand::SetRemote { leg, remote } => {
                assert!(self.legs.contains_key(&leg), "a remote for a leg that is not open");
                self.remotes.push((leg, remote));
                MediaEvent::Connected { leg }
            }
            MediaCommand::RestartIce { leg, ice_ufrag, .. } => {
                assert!(self.legs.contains_key(&leg), "an ICE restart of a leg that is not open");
                self.restarts.push((leg, ice_ufrag));
                return;
            }
            MediaCommand::Dtmf { leg, event, duration_ms } => {
                assert!(self.legs.contains_key(&leg), "a key for a leg that is not open");
                self.keys.push((leg, event, duration_ms));
                return;
            }
            MediaCommand::Close { leg } => {
                self.legs.remove(&leg).expect("each leg is closed once");
                MediaEvent::Closed { leg, stats: LegStats { rx_packets: 1, ..LegStats::default() } }
            }
        };
        self.schedule(at, Event::ToEngine(Input::Media(event)));
    }

    /// No leg is heard by two.
    fn check_media(&self) {
        let mut heard = BTreeSet::new();
        for (leg, path) in &self.legs {
            if let Some((_, Source::Leg(source))) = path {
                assert!(heard.insert(source), "{source:?} is heard by {leg:?} and another\n{}", self.last_words());
            }
        }
    }

    /// Lets a peer act, and puts what it says on the network.
    pub fn act(&mut self, at: usize, act: impl FnOnce(&mut Peer, Instant)) {
        self.peers[at].now = self.now.mono;
        act(&mut self.peers[at], self.now.mono);
        self.flush_peer(at);
    }

    fn flush_peer(&mut self, at: usize) {
        for bytes in self.peers[at].drain() {
            if !self.closed.contains(&at) {
                self.carry(at, true, bytes.into());
            }
        }
    }

    /// Nothing more is brought to a peer or from it: a test looks at the ladder alone.
    pub fn deafen(&mut self, at: usize) {
        self.closed.insert(at);
    }

    /// A WebSocket breaks: what is under way over it is lost.
    pub fn close_websocket(&mut self, at: usize) {
        self.closed.insert(at);
        let flow = self.flow_of(at);
        self.events.retain(|_, event| match event {
            Event::ToPeer(peer, _) => *peer != at,
            Event::ToEngine(Input::Message { flow: f, .. }) => *f != flow,
            Event::ToEngine(_) => true,
        });
        let connection = self.connections[&at];
        self.input(Input::Closed { connection });
    }

    fn next_moment(&self) -> Option<Instant> {
        let engine = self.engine.poll_timeout().map(|(at, _)| at);
        let events = self.events.keys().next().map(|(at, _)| *at);
        let peers =
            self.peers.iter().enumerate().filter(|(at, _)| !self.closed.contains(at)).filter_map(|(_, p)| p.poll_timeout());
        engine.into_iter().chain(events).chain(peers).min()
    }

    /// Goes to the next moment at which something happens, and lets it happen. False when nothing will until `until`.
    fn step(&mut self, until: Instant) -> bool {
        let Some(at) = self.next_moment().filter(|at| *at <= until) else { return false };
        self.now = self.now.after(at.saturating_duration_since(self.now.mono));
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now.mono {
                break;
            }
            match entry.remove() {
                Event::ToEngine(input) => self.input(input),
                Event::ToPeer(peer, bytes) => {
                    self.act(peer, |p, now| p.receive(&bytes, now));
                }
            }
        }
        for at in 0..self.peers.len() {
            if !self.closed.contains(&at) && self.peers[at].poll_timeout().is_some_and(|t| t <= self.now.mono) {
                self.act(at, Peer::handle_timeout);
            }
        }
        if self.engine.poll_timeout().is_some_and(|(t, _)| t <= self.now.mono) {
            self.engine.handle_timeout(self.now, &mut self.out);
            self.flush_engine();
        }
        true
    }

    /// Runs for a time of the world's own clock.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while self.step(until) {}
        self.now = self.now.after(until.saturating_duration_since(self.now.mono));
    }

    /// Runs until `done`, or for so long.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now.mono + limit;
        while !done(self) {
            if !self.step(until) {
                return done(self);
            }
        }
        true
    }

    /// Registers peers in calm weather.
    pub fn register_all(&mut self) {
        let weather = std::mem::replace(&mut self.weather, Weather::CALM);
        for at in 0..self.peers.len() {
            self.act(at, Peer::register);
        }
        let all = |world: &Self| world.peers.iter().all(|p| p.registered);
        assert!(self.run_until(Duration::from_secs(5), all), "all register");
        self.weather = weather;
    }

    /// What a failing test wants to see: the ladder, and what is still there.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        let start = self.ladder.first().map_or(0, |t| t.unix_us);
        for trace in &self.ladder {
            let first = String::from_utf8_lossy(&trace.bytes).lines().next().unwrap_or_default().to_owned();
            let who = self.peers.iter().position(|p| p.addr == trace.remote);
            let who = who.map_or_else(|| "?".to_owned(), |at| format!("{}.{at}", self.peers[at].name));
            let arrow = if trace.rx { "->" } else { "<-" };
            text += &format!("{:9.3} {who:>8} {arrow} engine  {first}\n", (trace.unix_us - start) as f64 / 1e6);
        }
        text += &format!("{:?}\n", self.engine.census());
        for peer in &self.peers {
            text += &format!("{}: {:?}", peer.name, peer.outcome);
            for call in &peer.calls {
                text += &format!(" [{} {:?} {:?}]", call.call_id, call.outcome, call.direction);
            }
            text += "\n";
        }
        text
    }

    /// Nothing is left behind: no call, dialog, transaction, question, timer or session; no subscription, publication or
    /// message under way.
    pub fn nothing_left(&self) -> bool {
        let census = self.engine.census();
        let calls = census.calls + census.dialogs + census.transactions + census.waiting + census.call_timers;
        let beside = census.subscriptions + census.publications + census.messages;
        calls + beside == 0 && self.legs.is_empty()
    }

    /// Which peer, and which of its calls, a leg is: its SDP says where its media is.
    pub fn who_is(&self, leg: LegId) -> Option<(usize, usize)> {
        let (_, remote) = self.remotes.iter().rev().find(|(of, _)| *of == leg)?;
        let call = |is: &dyn Fn(usize, &super::peer::Call) -> bool| {
            let mut all =
                self.peers.iter().enumerate().flat_map(|(at, p)| p.calls.iter().enumerate().map(move |(n, c)| (at, n, c)));
            all.find(|(at, _, call)| is(*at, call)).map(|(at, n, _)| (at, n))
        };
        match remote {
            LegRemote::Rtp { rtp, .. } => {
                call(&|at, c| self.peers[at].addr.ip() == rtp.ip() && c.port == rtp.port() && !self.peers[at].websocket)
            }
            LegRemote::WebRtc { ice_ufrag, .. } => {
                call(&|at, c| self.peers[at].websocket && *ice_ufrag == format!("{}x{}", self.peers[at].ufrag(), c.port))
            }
        }
    }

    /// Who hears what now, by peer and call.
    pub fn hears(&self, peer: usize, call: usize) -> Option<Heard> {
        let (_, path) = self.legs.iter().rev().find(|(leg, path)| path.is_some() && self.who_is(**leg) == Some((peer, call)))?;
        let (plan, source) = (*path)?;
        Some(match source {
            _ if !plan.tx => Heard::Nothing,
            Source::Leg(leg) => match self.who_is(leg) {
                Some((peer, call)) => Heard::Peer(peer, call),
                None => Heard::Nothing,
            },
            Source::Nothing => Heard::Nothing,
            Source::Music => Heard::Music,
            Source::Ringback => Heard::Ringback,
            Source::Itself => Heard::Itself,
            Source::Tone { .. } => Heard::Tone,
        })
    }

    /// What each leg agreed to in the end, in the order in which they were made.
    pub fn codecs(&self) -> Vec<Codec> {
        let last: BTreeMap<LegId, Codec> = self.paths.iter().map(|(leg, plan, _)| (*leg, plan.codec)).collect();
        last.into_values().collect()
    }
}
