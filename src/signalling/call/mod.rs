//! Calls: legs of a B2BUA, and the decisions that join them.
//!
//! A [`Call`] is told what happens on a leg (`on_*`), and says what shall be done ([`Action`]); it sends nothing, knows no
//! transaction and no bytes but SDP. The engine carries its actions out.
//!
//! ```text
//! Opening   media makes the leg of one who calls the gateway itself   (on_opened)
//! Calling   branches ring, 18x go to the caller       (ring.rs, ringing.rs)
//! Talking   two legs are joined                       (talking.rs; transfer.rs)
//! Ending    everyone has been told; last responses and media's counts are awaited
//! ```
//!
//! What each leg hears is not told step by step: `media.rs` says what it ought to hear as things stand, and media is told
//! what has changed.

mod ending;
mod leg;
mod legs;
mod media;
mod proposal;
pub mod ring;
mod ringing;
pub mod session_timer;
mod talking;
mod transfer;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

pub use ending::{Ending, LegError, status_for};
pub use leg::{Can, Invite, Leg, LegMediaState, LegState, Party, Refresh, Unacked};
pub use session_timer::SessionTimer;
pub use talking::{FreshIce, ReofferError};

use crate::base::Now;
use crate::plan::{LegId, MediaCommand, Source};
use crate::signalling::record::CallRecord;
use legs::Legs;
use ring::{Ring, Stage};
use transfer::Transfer;

/// What the engine shall do for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer the INVITE that made a leg.
    Respond {
        /// Which.
        leg: LegId,
        /// 180 to 699.
        status: u16,
        /// In words, if the status' own phrase says too little.
        reason: &'static str,
        /// Our description.
        sdp: Option<String>,
    },
    /// Make legs for these and ring them: [`Call::on_branches`].
    Ring {
        /// Who.
        stage: Stage,
    },
    /// Send the INVITE of a leg.
    Invite {
        /// Which.
        leg: LegId,
        /// Our offer.
        sdp: String,
    },
    /// Acknowledge a 2xx to the INVITE of ours that is settled now.
    Ack(LegId),
    /// Cancel a leg's INVITE.
    Cancel {
        /// Which.
        leg: LegId,
        /// Somebody else has taken the call.
        elsewhere: bool,
    },
    /// End a leg's dialog, and say why if it is not an ordinary hanging up.
    Bye {
        /// Which.
        leg: LegId,
        /// SIP status and words for the Reason header.
        reason: Option<(u16, String)>,
    },
    /// Forget a leg's INVITE: it was cancelled and never heard of again.
    Abandon(LegId),
    /// Show that the session is still there, or propose another: UPDATE, or re-INVITE with this offer.
    Refresh {
        /// Which leg.
        leg: LegId,
        /// With a re-INVITE.
        sdp: Option<String>,
    },
    /// Send the first of the leg's keys as INFO.
    SendKey(LegId),
    /// Tell a leg how the transfer that it asked for goes on.
    Notify {
        /// Which.
        leg: LegId,
        /// Of the INVITE to the target.
        status: u16,
        /// Nothing more will be told.
        last: bool,
    },
    /// Tell the media half.
    Media(MediaCommand),
    /// Start a timer, instead of the one of this name that runs.
    Arm(CallTimer, Duration),
    /// Stop a timer.
    Disarm(CallTimer),
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallTimer {
    /// A stage rings and nobody answers.
    NoAnswer,
    /// A stage has been ringing for long enough that whoever is silent may not be there.
    Silence,
    /// One leg's.
    Leg(LegId, LegTimer),
}

/// What one leg waits for; it takes its timers along into another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegTimer {
    /// Our 2xx is due again (RFC 3261 section 13.3.1.4).
    Retransmit2xx,
    /// Our 2xx was never acknowledged.
    NoAck,
    /// Our reliable provisional response is due again (RFC 3262 section 3).
    Retransmit1xx,
    /// It was never acknowledged.
    NoPrack,
    /// Its INVITE was cancelled and its final response does not come (RFC 3261 section 9.1).
    Cancelled,
    /// Its WebSocket closed, or its page ended DTLS, and it has not come back.
    Grace,
    /// Our session refresh is due (RFC 4028).
    Refresh,
    /// Theirs is overdue.
    Expired,
    /// Our re-INVITE or UPDATE met theirs (491), and is tried again (RFC 3261 section 14.1).
    Glare,
    /// It has handed its call over and does not hang up.
    Farewell,
    /// Media does not say that it has closed the leg.
    MediaClose,
}

impl CallTimer {
    /// For logs and failing tests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Silence => "silent devices",
            Self::Leg(_, timer) => match timer {
                LegTimer::Retransmit2xx => "2xx again",
                LegTimer::NoAck => "no ACK",
                LegTimer::Retransmit1xx => "1xx again",
                LegTimer::NoPrack => "no PRACK",
                LegTimer::Cancelled => "cancelled, no final response",
                LegTimer::Grace => "websocket grace",
                LegTimer::Refresh => "session refresh",
                LegTimer::Expired => "session expires",
                LegTimer::Glare => "glare",
                LegTimer::Farewell => "after transfer",
                LegTimer::MediaClose => "media close",
            },
        }
    }
}

/// How long a call waits for what; from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTimes {
    /// How long a stage rings, unless its rule says so.
    pub ring: Duration,
    /// How long a closed WebSocket may stay away.
    pub grace: Duration,
}

/// 64 times T1: when the network has certainly lost something for good.
const GIVE_UP: Duration = Duration::from_secs(32);
/// How long media may take to answer `Close`: it is a queue away.
const MEDIA_CLOSE: Duration = Duration::from_secs(5);
/// How long a device may say nothing to an INVITE before the others are not held up by it: four tries over UDP.
const SILENCE: Duration = Duration::from_secs(5);
/// How long one who has transferred may take to hang up by itself (RFC 5589 leaves that to it).
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Calling,
    Talking,
    Ending,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The gateway's id, for people.
    pub id: Arc<str>,
    legs: Legs,
    /// Who talks, or shall: who called, and who answered.
    pair: [Option<LegId>; 2],
    /// The caller is answered by the gateway itself and hears this.
    demo: Option<Source>,
    /// Only while somebody rings; most calls are talking.
    ring: Option<Box<Ring>>,
    transfer: Option<Transfer>,
    /// Legs that came to take another's place, and whose: until media has opened them.
    replacing: Vec<(LegId, LegId)>,
    phase: Phase,
    times: CallTimes,
    pipeline: String,
    ending: Option<Ending>,
    /// None once it has been given out.
    record: Option<CallRecord>,
}

impl Call {
    /// A call that has just come in and been routed: to a ring, or to the gateway itself.
    #[must_use]
    pub fn new(id: Arc<str>, caller: Leg, to: Result<Ring, Source>, times: CallTimes, record: CallRecord) -> Self {
        let (ring, demo) = match to {
            Ok(ring) => (Some(Box::new(ring)), None),
            Err(source) => (None, Some(source)),
        };
        Self {
            id,
            pair: [Some(caller.id), None],
            legs: Legs::of(caller),
            demo,
            ring,
            transfer: None,
            replacing: Vec::new(),
            phase: Phase::Opening,
            times,
            pipeline: String::new(),
            ending: None,
            record: Some(record),
        }
    }

    /// Its legs.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter()
    }

    /// A leg.
    ///
    /// # Panics
    /// When it is not this call's: the engine knows whose each leg is.
    #[must_use]
    pub fn leg(&self, leg: LegId) -> &Leg {
        self.legs.get(leg).expect("the engine names a call by its leg")
    }

    /// As [`Call::leg`].
    ///
    /// # Panics
    /// As [`Call::leg`].
    pub fn leg_mut(&mut self, leg: LegId) -> &mut Leg {
        self.legs.get_mut(leg).expect("the engine names a call by its leg")
    }

    /// The two who talk, or shall: who called, and who answered.
    #[must_use]
    pub fn pair(&self) -> [Option<LegId>; 2] {
        self.pair
    }

    /// Whom a leg talks to, or shall.
    #[must_use]
    pub fn other(&self, leg: LegId) -> Option<LegId> {
        match self.pair {
            [Some(a), b] if a == leg => b,
            [a, Some(b)] if b == leg => a,
            _ => None,
        }
    }

    fn is_in_pair(&self, leg: LegId) -> bool {
        self.pair.contains(&Some(leg))
    }

    fn replace_in_pair(&mut self, old: LegId, new: Option<LegId>) {
        for place in &mut self.pair {
            if *place == Some(old) {
                *place = new;
            }
        }
    }

    /// Whether it is joined and going on: the state of a call whose legs may be transferred or replaced.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        self.phase == Phase::Talking
    }

    /// Asks media for the caller's leg, and has the first devices rung: theirs come after it.
    pub fn start(&mut self, now: Now, out: &mut Vec<Action>) {
        let caller = self.pair[0].expect("a call begins with its caller");
        self.open_media(caller, out);
        if self.ring.is_some() {
            self.phase = Phase::Calling;
            self.ring_on(now, out);
        }
    }

    /// Media has made a leg.
    pub fn on_opened(&mut self, leg: LegId, addresses: Vec<std::net::SocketAddr>, now: Now, out: &mut Vec<Action>) {
        let opened = self.leg_mut(leg);
        if opened.media != LegMediaState::Opening {
            return;
        }
        opened.media = LegMediaState::Open;
        opened.offer.local.addresses = addresses;
        self.set_remote(leg, out);
        if self.phase == Phase::Opening {
            self.answer_caller(leg, now, out);
        } else if self.replacing.iter().any(|(new, _)| *new == leg) {
            self.take_place(leg, now, out);
        } else {
            self.invite(leg, out);
        }
    }

    /// Media could not make a leg.
    pub fn on_open_failed(&mut self, leg: LegId, now: Now, out: &mut Vec<Action>) {
        self.leg_mut(leg).media = LegMediaState::Closed;
        if self.ring.as_ref().is_some_and(|ring| ring.has(leg)) {
            self.leg_mut(leg).state = LegState::Ended;
            self.branch_failed(leg, LegError::Status(503), now, out);
        } else if let Some(at) = self.replacing.iter().position(|(new, _)| *new == leg) {
            self.replacing.swap_remove(at);
            self.tell_leg(leg, &Ending::NoMedia, out);
        } else {
            self.end(Ending::NoMedia, now, out);
        }
    }

    /// Media has closed a leg: as it was told to, or because the leg broke.
    pub fn on_media_closed(&mut self, leg: LegId, stats: crate::plan::LegStats, now: Now, out: &mut Vec<Action>) {
        let closed = self.leg_mut(leg);
        let told = closed.media == LegMediaState::Closing;
        (closed.stats, closed.media) = (Some(Box::new(stats)), LegMediaState::Closed);
        out.push(Action::Disarm(CallTimer::Leg(leg, LegTimer::MediaClose)));
        if !told && closed.state != LegState::Ended {
            self.end(Ending::MediaLost, now, out);
        }
    }

    /// A timer fired. Retransmission is the engine's to carry out: it has the bytes.
    pub fn on_timer(&mut self, timer: CallTimer, now: Now, out: &mut Vec<Action>) {
        match timer {
            CallTimer::NoAnswer => self.on_no_answer(now, out),
            CallTimer::Silence => {
                if let Some(ring) = &mut self.ring {
                    ring.silence();
                    self.ring_on(now, out);
                }
            }
            CallTimer::Leg(leg, timer) => self.on_leg_timer(leg, timer, now, out),
        }
    }

    fn on_leg_timer(&mut self, leg: LegId, timer: LegTimer, now: Now, out: &mut Vec<Action>) {
        let who = self.leg(leg).who.clone();
        match timer {
            LegTimer::Retransmit2xx | LegTimer::Retransmit1xx => {}
            LegTimer::NoAck => {
                out.push(Action::Disarm(CallTimer::Leg(leg, LegTimer::Retransmit2xx)));
                let silent = self.leg_mut(leg);
                silent.unacked = None;
                if matches!(silent.state, LegState::Answering | LegState::ByeAfterAck) {
                    silent.state = LegState::Confirmed;
                }
                self.leave(leg, Ending::NoAck(who), now, out);
            }
            LegTimer::NoPrack => {
                out.push(Action::Disarm(CallTimer::Leg(leg, LegTimer::Retransmit1xx)));
                self.end(Ending::NoAck(who), now, out);
            }
            LegTimer::Cancelled => {
                out.push(Action::Abandon(leg));
                self.leg_mut(leg).state = LegState::Ended;
                self.close_media(leg, out);
            }
            LegTimer::Grace => {
                let lost = self.leg(leg);
                let ending = match lost.failure {
                    Some(cause) if !lost.flow_closed => Ending::MediaFailed(who, cause),
                    _ => Ending::FlowClosed(who),
                };
                self.leave(leg, ending, now, out);
            }
            LegTimer::Refresh | LegTimer::Glare => self.refresh(leg, out),
            LegTimer::Expired => self.leave(leg, Ending::NotRefreshed(who), now, out),
            LegTimer::Farewell => self.leave(leg, Ending::Transferred(who), now, out),
            LegTimer::MediaClose => self.leg_mut(leg).media = LegMediaState::Closed,
        }
    }

    /// A leg is to end: with it the call, if it is one of the two who talk; if it is on its way out already, alone.
    fn leave(&mut self, leg: LegId, ending: Ending, now: Now, out: &mut Vec<Action>) {
        if self.is_in_pair(leg) {
            self.end(ending, now, out);
        } else {
            self.tell_leg(leg, &ending, out);
        }
    }

    /// Ends the call: each leg is told in the way that its state allows. The first ending is the one that counts.
    pub fn end(&mut self, ending: Ending, now: Now, out: &mut Vec<Action>) {
        if self.phase != Phase::Ending {
            self.phase = Phase::Ending;
            let ending = self.ending.get_or_insert(ending);
            tracing::debug!(call = %self.id, ?ending, "ends");
            if let Some(record) = &mut self.record {
                record.ended_unix_ms = now.unix_ms();
            }
            out.extend([Action::Disarm(CallTimer::NoAnswer), Action::Disarm(CallTimer::Silence)]);
        }
        self.ring = None;
        self.replacing.clear();
        self.end_transfer(480, out);
        let ending = self.ending.clone().expect("set above");
        let legs: Vec<LegId> = self.legs.iter().map(|leg| leg.id).collect();
        for leg in legs {
            self.tell_leg(leg, &ending, out);
        }
    }

    /// Ends one leg in the way that its state allows. One that cannot be told yet (BYE waits for ACK, CANCEL for a
    /// provisional response) is told when it can be.
    fn tell_leg(&mut self, id: LegId, ending: &Ending, out: &mut Vec<Action>) {
        let timer = |timer| CallTimer::Leg(id, timer);
        let leg = self.leg_mut(id);
        match leg.state {
            LegState::Incoming => {
                leg.state = LegState::Ended;
                let (status, reason) = status_for(ending);
                out.push(Action::Respond { leg: id, status, reason, sdp: None });
            }
            // No BYE before the ACK to our 2xx (RFC 3261 section 15).
            LegState::Answering => leg.state = LegState::ByeAfterAck,
            LegState::Confirmed => {
                leg.state = LegState::Leaving;
                out.push(Action::Bye { leg: id, reason: ending.reason() });
            }
            LegState::Idle => leg.state = LegState::Ended,
            LegState::Inviting => leg.state = LegState::CancelPending,
            LegState::Ringing => {
                leg.state = LegState::Cancelling;
                out.extend([Action::Cancel { leg: id, elsewhere: false }, Action::Arm(timer(LegTimer::Cancelled), GIVE_UP)]);
            }
            LegState::CancelPending | LegState::Cancelling | LegState::ByeAfterAck | LegState::Leaving | LegState::Ended => {}
        }
        out.extend(
            [LegTimer::Grace, LegTimer::Refresh, LegTimer::Expired, LegTimer::Glare, LegTimer::Farewell]
                .map(|t| Action::Disarm(timer(t))),
        );
        self.close_media(id, out);
    }

    /// Legs of which nothing more is awaited and nobody asks any more, taken out.
    pub fn take_finished(&mut self) -> Vec<Leg> {
        let over: Vec<LegId> = self.legs.iter().filter(|leg| leg.is_over()).map(|leg| leg.id).collect();
        let keeps_pair = self.record.is_some();
        let over = over.into_iter().filter(|leg| !(keeps_pair && self.is_in_pair(*leg)));
        over.collect::<Vec<_>>().into_iter().filter_map(|leg| self.legs.remove(leg)).collect()
    }

    /// Whether nothing is awaited any more: the last responses have come, media has closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ending && self.legs.iter().all(Leg::is_over)
    }

    /// The record, once: when the call has ended for its parties and media has told what it did.
    pub fn take_record(&mut self) -> Option<CallRecord> {
        let pair = || self.pair.iter().flatten().filter_map(|leg| self.legs.get(*leg));
        let open = |leg: &Leg| matches!(leg.media, LegMediaState::Opening | LegMediaState::Open | LegMediaState::Closing);
        if self.phase != Phase::Ending || pair().any(open) {
            return None;
        }
        let ending = self.ending.clone()?;
        let mut record = self.record.take()?;
        record.id = self.id.to_string();
        record.status = if record.answered_unix_ms.is_some() { 200 } else { status_for(&ending).0 };
        let pair = || self.pair.map(|leg| leg.and_then(|leg| self.legs.get(leg)));
        let [a, b] = pair().map(|leg| leg.map(|leg| leg.who.clone()));
        let dialled: Arc<str> = if self.demo.is_some() { "the gateway".into() } else { record.dialled.as_str().into() };
        record.ended_by = ending.in_words(&a.unwrap_or_else(|| record.from.as_str().into()), &b.unwrap_or(dialled));
        record.pipeline.clone_from(&self.pipeline);
        let listens = !matches!(self.demo, Some(Source::Tone { .. }));
        for (at, leg) in pair().into_iter().enumerate() {
            if let Some(leg) = leg {
                record.media[at] = verdict::of(
                    leg,
                    leg.stats.as_deref().copied().unwrap_or_default(),
                    record.answered_unix_ms.is_some(),
                    listens,
                );
                record.sip_call_ids[at] = Some(leg.dialog.call_id.clone());
            }
        }
        Some(record)
    }
}
