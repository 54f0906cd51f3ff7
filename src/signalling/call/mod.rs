//! Calls: two legs of a B2BUA, and the decisions that join them.
//!
//! A [`Call`] is told what happens on a leg (`on_*`), and says what shall be done ([`Action`]); it sends nothing, knows no
//! transaction and no bytes but SDP. The engine carries its actions out.
//!
//! ```text
//! Opening   media makes the legs                     (on_opened)
//! Calling   leg B is invited, 18x go to leg A        (on_provisional)
//! Talking   both have a 200                          (on_answer)
//! Ending    everyone has been told; last responses and media's counts are awaited
//! ```

mod ending;
mod leg;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

pub use ending::{Ending, LegError, status_for};
pub use leg::{Invite, Leg, LegState};

use crate::base::Now;
use crate::plan::{Codec, LegFailure, LegOpen, LegStats, MediaCommand, Path, SessionId, SessionPlan, Side};
use crate::policy::profile::MediaKind;
use crate::signalling::record::CallRecord;

/// What the engine shall do for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer the INVITE that made leg A.
    Respond {
        /// 180 to 699.
        status: u16,
        /// In words, if the status' own phrase says too little.
        reason: &'static str,
        /// Our description.
        sdp: Option<String>,
    },
    /// Send the INVITE of leg B.
    Invite {
        /// Our offer.
        sdp: String,
    },
    /// Acknowledge leg B's 2xx.
    Ack,
    /// Cancel leg B's INVITE.
    Cancel,
    /// End a leg's dialog.
    Bye(Side),
    /// Forget leg B's INVITE: it was cancelled and never heard of again.
    Abandon,
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
    /// Leg B rings and nobody answers.
    NoAnswer,
    /// Our 2xx on a leg is due again (RFC 3261 section 13.3.1.4).
    Retransmit2xx(Side),
    /// Our 2xx on a leg was never acknowledged.
    NoAck(Side),
    /// Leg B's INVITE was cancelled and its final response does not come (RFC 3261 section 9.1).
    Cancelled,
    /// A leg's WebSocket closed, or its page ended DTLS, and it has not come back.
    Grace(Side),
    /// Media does not say that it has closed the session.
    MediaClose,
}

impl CallTimer {
    /// The bounds of a call's timers in an ordered table.
    pub const FIRST: Self = Self::NoAnswer;
    /// See [`CallTimer::FIRST`].
    pub const LAST: Self = Self::MediaClose;

    /// For logs and failing tests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Retransmit2xx(_) => "2xx again",
            Self::NoAck(_) => "no ACK",
            Self::Cancelled => "cancelled, no final response",
            Self::Grace(_) => "websocket grace",
            Self::MediaClose => "media close",
        }
    }
}

/// Who answers a call on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callee {
    /// A peer or a device: leg B.
    Leg(Box<Leg>),
    /// The gateway itself, by a path that needs no leg B.
    Gateway(Path),
}

/// How long a call waits for what; from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTimes {
    /// How long leg B rings.
    pub ring: Duration,
    /// How long a closed WebSocket may stay away.
    pub grace: Duration,
}

/// 64 times T1: when the network has certainly lost something for good.
const GIVE_UP: Duration = Duration::from_secs(32);
/// How long media may take to answer `Close`: it is a queue away.
const MEDIA_CLOSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Calling,
    Talking,
    Ending,
}

/// One call: leg A came in, leg B goes out.
#[derive(Debug, Clone)]
pub struct Call {
    /// The gateway's id, for people.
    pub id: Arc<str>,
    /// Its media session.
    pub session: SessionId,
    /// What came in.
    pub a: Leg,
    /// Where it goes.
    pub callee: Callee,
    phase: Phase,
    times: CallTimes,
    early: Option<u16>,
    media_open: bool,
    stats: [LegStats; 2],
    pipeline: String,
    ending: Option<Ending>,
    /// None once it has been given out.
    record: Option<CallRecord>,
}

impl Call {
    /// A call that has just come in and been routed. Leg A has the caller's offer.
    #[must_use]
    pub fn new(id: Arc<str>, session: SessionId, a: Leg, callee: Callee, times: CallTimes, record: CallRecord) -> Self {
        Self {
            id,
            session,
            a,
            callee,
            phase: Phase::Opening,
            times,
            early: None,
            media_open: false,
            stats: [LegStats::default(); 2],
            pipeline: String::new(),
            ending: None,
            record: Some(record),
        }
    }

    /// Leg B, if the callee is not the gateway itself.
    #[must_use]
    pub fn b(&self) -> Option<&Leg> {
        match &self.callee {
            Callee::Leg(leg) => Some(leg),
            Callee::Gateway(_) => None,
        }
    }

    /// A leg.
    ///
    /// # Panics
    /// For leg B of a call to the gateway itself: nothing names a leg that was never made.
    #[must_use]
    pub fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => self.b().expect("a leg is named by what came in on it"),
        }
    }

    /// As [`Call::leg`].
    ///
    /// # Panics
    /// As [`Call::leg`].
    pub fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match (side, &mut self.callee) {
            (Side::A, _) => &mut self.a,
            (Side::B, Callee::Leg(leg)) => leg,
            (Side::B, Callee::Gateway(_)) => panic!("a leg is named by what came in on it"),
        }
    }

    fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        [Side::A, Side::B].into_iter().take(if self.b().is_some() { 2 } else { 1 })
    }

    /// Asks media for the legs.
    pub fn start(&mut self, out: &mut Vec<Action>) {
        self.media_open = true;
        for side in self.sides() {
            let leg = self.leg(side);
            let open = match (&leg.offer.local.secure, leg.offer.kind()) {
                (Some(end), MediaKind::Webrtc) => {
                    LegOpen::WebRtc { ice_ufrag: end.ice_ufrag.clone(), ice_pwd: end.ice_pwd.clone() }
                }
                _ => LegOpen::Rtp { local: leg.media_ip },
            };
            out.push(Action::Media(MediaCommand::Open { session: self.session, side, leg: open }));
        }
    }

    /// Media has made a leg.
    pub fn on_opened(&mut self, side: Side, addresses: Vec<std::net::SocketAddr>, now: Now, out: &mut Vec<Action>) {
        if self.phase != Phase::Opening {
            return;
        }
        self.leg_mut(side).offer.local.addresses = addresses;
        if self.sides().any(|side| self.leg(side).offer.local.addresses.is_empty()) {
            return;
        }
        self.set_remote(Side::A, out);
        match &mut self.callee {
            Callee::Gateway(path) => {
                let path = *path;
                self.phase = Phase::Talking;
                self.answer_a(path, None, now, out);
            }
            Callee::Leg(b) => {
                self.phase = Phase::Calling;
                let first: Vec<Codec> = self.a.offer.offered().collect();
                let sdp = b.offer.write_offer(&first);
                b.state = LegState::Inviting;
                out.extend([Action::Invite { sdp }, Action::Arm(CallTimer::NoAnswer, self.times.ring)]);
            }
        }
    }

    /// Media could not make a leg.
    pub fn on_open_failed(&mut self, now: Now, out: &mut Vec<Action>) {
        self.end(Ending::NoMedia, now, out);
    }

    fn set_remote(&self, side: Side, out: &mut Vec<Action>) {
        if let Some(remote) = self.leg(side).offer.leg_remote() {
            out.push(Action::Media(MediaCommand::SetRemote { session: self.session, side, remote }));
        }
    }

    /// Leg B said 1xx; 100 means no more than that it is there.
    pub fn on_provisional(&mut self, status: u16, sdp: Option<&[u8]>, out: &mut Vec<Action>) {
        let Some(b) = self.b_mut() else { return };
        match b.state {
            LegState::Inviting => b.state = LegState::Ringing,
            LegState::CancelPending => {
                b.state = LegState::Cancelling;
                out.extend([Action::Cancel, Action::Arm(CallTimer::Cancelled, GIVE_UP)]);
                return;
            }
            LegState::Ringing => {}
            // Its end is settled already.
            _ => return,
        }
        if status == 100 || self.phase != Phase::Calling {
            return;
        }
        let early = sdp.filter(|_| self.early.is_none()).and_then(|sdp| self.agree(sdp, out));
        if early.is_some() {
            self.early = Some(status);
        }
        // Once the caller has a description, each provisional response repeats it.
        let sdp = self.early.and_then(|_| self.a.offer.last_local().map(str::to_owned));
        out.push(Action::Respond { status, reason: "", sdp });
    }

    /// Takes leg B's description, answers leg A's offer if that has not been done, and sets the path. None, and leg B is to
    /// be ended, when they do not fit.
    fn agree(&mut self, sdp: &[u8], out: &mut Vec<Action>) -> Option<()> {
        let b = self.b_mut()?;
        let codec_b = b.offer.receive_answer(sdp).ok()?;
        self.set_remote(Side::B, out);
        if self.a.offer.leg_plan().is_none() {
            let codec_a = self.a.offer.choose(Some(codec_b))?;
            self.a.offer.write_answer(codec_a);
        }
        self.set_path(out);
        Some(())
    }

    fn set_path(&mut self, out: &mut Vec<Action>) {
        let Some(a) = self.a.offer.leg_plan() else { return };
        let plan = match &self.callee {
            Callee::Gateway(path) => SessionPlan { a, b: None, path: *path },
            Callee::Leg(b) => {
                let Some(b) = b.offer.leg_plan() else { return };
                let path = if a.codec == b.codec { Path::Rewrite } else { Path::Transcode };
                SessionPlan { a, b: Some(b), path }
            }
        };
        self.pipeline = plan.to_string();
        out.push(Action::Media(MediaCommand::SetPath { session: self.session, plan }));
    }

    /// Leg B said 2xx.
    pub fn on_answer(&mut self, sdp: Option<&[u8]>, now: Now, out: &mut Vec<Action>) {
        let Some(b) = self.b_mut() else { return };
        match b.state {
            LegState::Inviting | LegState::Ringing => {}
            // It answered while we cancelled (RFC 3261 section 9.1): it is told at once that nobody is there.
            LegState::CancelPending | LegState::Cancelling => {
                b.state = LegState::Leaving;
                out.extend([Action::Ack, Action::Bye(Side::B), Action::Disarm(CallTimer::Cancelled)]);
                return;
            }
            _ => return,
        }
        b.state = LegState::Confirmed;
        out.extend([Action::Ack, Action::Disarm(CallTimer::NoAnswer)]);
        let agreed = match sdp {
            Some(sdp) => self.agree(sdp, out),
            None => self.early.map(|_| ()),
        };
        if agreed.is_none() {
            self.end(Ending::NoCommonMedia, now, out);
            return;
        }
        self.phase = Phase::Talking;
        self.send_answer(now, out);
    }

    /// The gateway itself answers leg A.
    fn answer_a(&mut self, path: Path, other: Option<Codec>, now: Now, out: &mut Vec<Action>) {
        debug_assert!(matches!(path, Path::Echo | Path::Tone { .. }));
        let codec = self.a.offer.choose(other).expect("an offer without a codec of ours was refused");
        self.a.offer.write_answer(codec);
        self.set_path(out);
        self.send_answer(now, out);
    }

    fn send_answer(&mut self, now: Now, out: &mut Vec<Action>) {
        let sdp = self.a.offer.last_local().map(str::to_owned);
        self.a.state = LegState::Answering;
        if let Some(record) = &mut self.record {
            record.answered_unix_ms = Some(now.unix_ms());
        }
        out.push(Action::Respond { status: 200, reason: "", sdp });
        out.push(Action::Arm(CallTimer::NoAck(Side::A), GIVE_UP));
    }

    /// Leg B refused, or never answered.
    pub fn on_failure(&mut self, error: LegError, now: Now, out: &mut Vec<Action>) {
        let Some(b) = self.b_mut() else { return };
        let cancelled = matches!(b.state, LegState::CancelPending | LegState::Cancelling);
        b.state = LegState::Ended;
        if cancelled {
            out.push(Action::Disarm(CallTimer::Cancelled));
        } else {
            self.end(Ending::Refused(error), now, out);
        }
    }

    /// Leg A gave up before it was answered.
    pub fn on_cancel(&mut self, now: Now, out: &mut Vec<Action>) {
        self.end(Ending::Cancelled, now, out);
    }

    /// A 2xx of ours was acknowledged.
    pub fn on_ack(&mut self, side: Side, out: &mut Vec<Action>) {
        out.extend([Action::Disarm(CallTimer::NoAck(side)), Action::Disarm(CallTimer::Retransmit2xx(side))]);
        let leg = self.leg_mut(side);
        match leg.state {
            LegState::Answering => leg.state = LegState::Confirmed,
            LegState::ByeAfterAck => {
                leg.state = LegState::Leaving;
                out.push(Action::Bye(side));
            }
            // A re-INVITE's, or one that came twice.
            _ => {}
        }
    }

    /// A leg hung up.
    pub fn on_bye(&mut self, side: Side, now: Now, out: &mut Vec<Action>) {
        self.leg_mut(side).state = LegState::Ended;
        out.extend([Action::Disarm(CallTimer::NoAck(side)), Action::Disarm(CallTimer::Retransmit2xx(side))]);
        if side == Side::B {
            out.push(Action::Disarm(CallTimer::NoAnswer));
        }
        self.end(Ending::HungUp(side), now, out);
    }

    /// Our BYE on a leg was answered, or could not be sent, or will never be answered.
    pub fn on_bye_done(&mut self, side: Side) {
        let leg = self.leg_mut(side);
        if leg.state == LegState::Leaving {
            leg.state = LegState::Ended;
        }
    }

    /// A leg's WebSocket closed: it has the grace to come back.
    pub fn on_flow_closed(&mut self, side: Side, out: &mut Vec<Action>) {
        self.leg_mut(side).flow_closed = true;
        out.push(Action::Arm(CallTimer::Grace(side), self.times.grace));
    }

    /// A leg's description changed within the call: media follows.
    pub fn on_reoffer(&mut self, side: Side, out: &mut Vec<Action>) {
        self.set_remote(side, out);
        self.set_path(out);
    }

    /// Media says that a leg works no longer.
    pub fn on_media_failed(&mut self, side: Side, cause: LegFailure, now: Now, out: &mut Vec<Action>) {
        self.leg_mut(side).failure = Some(cause);
        match cause {
            // A page that closes its connection says BYE beside it, or its WebSocket closes.
            LegFailure::DtlsClosed => out.push(Action::Arm(CallTimer::Grace(side), self.times.grace)),
            LegFailure::FingerprintMismatch | LegFailure::Dtls | LegFailure::IceTimeout => {
                self.end(Ending::MediaFailed(side, cause), now, out);
            }
        }
    }

    /// Media has closed the session: as it was told to, or because the session broke.
    pub fn on_media_closed(&mut self, a: LegStats, b: LegStats, now: Now, out: &mut Vec<Action>) {
        self.stats = [a, b];
        self.media_open = false;
        if self.phase == Phase::Ending {
            out.push(Action::Disarm(CallTimer::MediaClose));
        } else {
            self.end(Ending::MediaLost, now, out);
        }
    }

    /// A timer fired. Retransmission is the engine's to carry out: it has the bytes.
    pub fn on_timer(&mut self, timer: CallTimer, now: Now, out: &mut Vec<Action>) {
        match timer {
            CallTimer::NoAnswer => self.end(Ending::NoAnswer, now, out),
            CallTimer::NoAck(side) => {
                out.push(Action::Disarm(CallTimer::Retransmit2xx(side)));
                let leg = self.leg_mut(side);
                if matches!(leg.state, LegState::Answering | LegState::ByeAfterAck) {
                    leg.state = LegState::Confirmed;
                }
                self.end(Ending::NoAck(side), now, out);
            }
            CallTimer::Cancelled => {
                self.leg_mut(Side::B).state = LegState::Ended;
                out.push(Action::Abandon);
            }
            CallTimer::Grace(side) => {
                let ending = if self.leg(side).flow_closed {
                    Ending::FlowClosed(side)
                } else {
                    Ending::MediaFailed(side, LegFailure::DtlsClosed)
                };
                self.end(ending, now, out);
            }
            CallTimer::MediaClose => self.media_open = false,
            CallTimer::Retransmit2xx(_) => {}
        }
    }

    /// Ends the call: each leg is told in the way that its state allows. The first ending is the one that counts.
    pub fn end(&mut self, ending: Ending, now: Now, out: &mut Vec<Action>) {
        if self.phase == Phase::Ending {
            // A leg that could not be told before (BYE waits for ACK) may have come free since.
            for side in self.sides() {
                self.tell_leg(side, ending, out);
            }
            return;
        }
        self.phase = Phase::Ending;
        self.ending = Some(ending);
        if let Some(record) = &mut self.record {
            record.ended_unix_ms = now.unix_ms();
        }
        out.push(Action::Disarm(CallTimer::NoAnswer));
        for side in self.sides() {
            out.push(Action::Disarm(CallTimer::Grace(side)));
            self.tell_leg(side, ending, out);
        }
        if self.media_open {
            out.push(Action::Media(MediaCommand::Close { session: self.session }));
            out.push(Action::Arm(CallTimer::MediaClose, MEDIA_CLOSE));
        }
    }

    fn tell_leg(&mut self, side: Side, ending: Ending, out: &mut Vec<Action>) {
        let leg = self.leg_mut(side);
        match leg.state {
            LegState::Incoming => {
                leg.state = LegState::Ended;
                let (status, reason) = status_for(ending);
                out.push(Action::Respond { status, reason, sdp: None });
            }
            // No BYE before the ACK to our 2xx (RFC 3261 section 15).
            LegState::Answering => leg.state = LegState::ByeAfterAck,
            LegState::Confirmed => {
                leg.state = LegState::Leaving;
                out.push(Action::Bye(side));
            }
            LegState::Idle => leg.state = LegState::Ended,
            LegState::Inviting => leg.state = LegState::CancelPending,
            LegState::Ringing => {
                leg.state = LegState::Cancelling;
                out.extend([Action::Cancel, Action::Arm(CallTimer::Cancelled, GIVE_UP)]);
            }
            LegState::CancelPending | LegState::Cancelling | LegState::ByeAfterAck | LegState::Leaving | LegState::Ended => {}
        }
    }

    /// Whether nothing is awaited any more: the last responses have come, media has closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ending && !self.media_open && self.sides().all(|side| self.leg(side).state == LegState::Ended)
    }

    /// The record, once: when the call has ended for its parties and media has told what it did.
    pub fn take_record(&mut self) -> Option<CallRecord> {
        if self.phase != Phase::Ending || self.media_open {
            return None;
        }
        let ending = self.ending?;
        let mut record = self.record.take()?;
        record.status = if record.answered_unix_ms.is_some() { 200 } else { status_for(ending).0 };
        record.ended_by = ending.in_words(&self.a.who, self.b().map_or("the gateway", |b| &b.who));
        record.pipeline.clone_from(&self.pipeline);
        let listens = !matches!(self.callee, Callee::Gateway(Path::Tone { .. }));
        for (at, side) in self.sides().enumerate() {
            record.media[at] = verdict::of(self.leg(side), self.stats[at], record.answered_unix_ms.is_some(), listens);
        }
        Some(record)
    }

    fn b_mut(&mut self) -> Option<&mut Leg> {
        match &mut self.callee {
            Callee::Leg(leg) => Some(leg),
            Callee::Gateway(_) => None,
        }
    }
}
