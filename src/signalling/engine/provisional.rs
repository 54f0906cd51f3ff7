//! Reliable provisional responses (RFC 3262), toward who asks for them and from who sends them.

use bytes::Bytes;

use super::screen::Arrived;
use super::{Engine, Output, Owner, sdp_of};
use crate::base::Now;
use crate::plan::LegId;
use crate::signalling::call::{Action, CallTimer, Leg, LegTimer, Unacked};
use crate::signalling::transaction::{ServerId, T1};
use crate::wire::sip::{HeaderName, Message, Method, Writer};

/// What [`Engine::respond_invite`] shall do with a response.
pub(super) enum Turn {
    /// Send it as it is.
    Plain,
    /// Send it with this RSeq and wait for its PRACK.
    Reliable(u32),
    /// It has been put behind the one that waits for its PRACK.
    Later,
}

impl Engine {
    /// One response at a time waits for its PRACK; a 2xx waits for it too, as the description that it repeats is not known to
    /// have arrived (section 3).
    pub(super) fn turn(&mut self, leg: LegId, status: u16, reason: &'static str, sdp: Option<&String>) -> Turn {
        let seed = self.rng.next_u32() & 0x7fff_fff0;
        let Some(leg) = self.leg_mut(leg) else { return Turn::Plain };
        if leg.reliable.waiting.is_some() && status < 300 {
            let final_waits = leg.reliable.next.as_ref().is_some_and(|next| next.0 >= 200);
            if !final_waits {
                leg.reliable.next = Some(Box::new((status, reason, sdp.cloned())));
            }
            return Turn::Later;
        }
        if (101..200).contains(&status) && is_wanted(leg, sdp.is_some()) {
            leg.reliable.rseq = if leg.reliable.rseq == 0 { seed.max(1) } else { leg.reliable.rseq + 1 };
            return Turn::Reliable(leg.reliable.rseq);
        }
        Turn::Plain
    }

    /// A reliable response has been sent.
    pub(super) fn wait_for_prack(&mut self, now: Now, id: LegId, server: ServerId, bytes: Bytes) {
        let Some(leg) = self.leg_mut(id) else { return };
        leg.reliable.waiting = Some(Box::new(Unacked { server, seq: leg.invite_seq, bytes, times: 0 }));
        self.arm(now, id, LegTimer::Retransmit1xx, T1);
        self.arm(now, id, LegTimer::NoPrack, T1 * 64);
    }

    pub(super) fn retransmit_1xx(&mut self, now: Now, id: LegId, out: &mut Vec<Output>) {
        let Some(waiting) = self.leg_mut(id).and_then(|leg| leg.reliable.waiting.as_mut()) else { return };
        waiting.times += 1;
        let after = T1 * 2u32.saturating_pow(waiting.times.min(6));
        let (server, bytes) = (waiting.server, waiting.bytes.clone());
        let mut sent = Vec::new();
        self.transactions.respond(now.mono, server, 183, bytes, &mut sent);
        self.transmit(now, sent, out);
        self.arm(now, id, LegTimer::Retransmit1xx, after);
    }

    /// The final failure of an INVITE: nobody waits for a PRACK any more.
    pub(super) fn forget_1xx(&mut self, id: LegId) {
        self.disarm(super::TimerKey::Leg(id, LegTimer::Retransmit1xx));
        self.disarm(super::TimerKey::Leg(id, LegTimer::NoPrack));
        if let Some(leg) = self.leg_mut(id) {
            (leg.reliable.waiting, leg.reliable.next) = (None, None);
        }
    }

    pub(super) fn on_prack(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        let rack = arrived.request.line_named("RAck").and_then(read_rack);
        let Some(leg) = self.leg_mut(id) else { return };
        let fits = leg.reliable.waiting.is_some() && rack == Some((leg.reliable.rseq, leg.invite_seq));
        if !fits {
            return self.refuse(now, arrived, 481, "", out);
        }
        leg.reliable.waiting = None;
        let next = leg.reliable.next.take();
        self.disarm(super::TimerKey::Leg(id, LegTimer::Retransmit1xx));
        self.disarm(super::TimerKey::Leg(id, LegTimer::NoPrack));
        // A PRACK may make an offer of its own (section 5).
        match sdp_of(&arrived.request) {
            Some(_) => self.answer_offer_by_200(now, id, arrived, out),
            None => self.refuse(now, arrived, 200, "", out),
        }
        if let Some((status, reason, sdp)) = next.map(|next| *next) {
            let Some(key) = self.by_leg.get(&id).copied() else { return };
            self.carry_out(now, key, Action::Respond { leg: id, status, reason, sdp }, out);
            if status >= 200 {
                // The time for the ACK begins now.
                self.carry_out(now, key, Action::Arm(CallTimer::Leg(id, LegTimer::NoAck), T1 * 64), out);
            }
        }
    }

    /// Acknowledges a reliable provisional response of a leg's peer; false when it is not to be acted on: it came before, or
    /// out of order (section 4).
    pub(super) fn acknowledge_1xx(&mut self, now: Now, id: LegId, response: &Message, out: &mut Vec<Output>) -> bool {
        if !response.lists(HeaderName::Require, "100rel") {
            return true;
        }
        let rseq = response.line_named("RSeq").and_then(|line| std::str::from_utf8(line).ok()?.trim().parse::<u32>().ok());
        let (Some(rseq), Some(leg), Ok(cseq)) = (rseq, self.leg_mut(id), response.cseq()) else { return false };
        if leg.seen_rseq.is_some_and(|seen| seen.checked_add(1) != Some(rseq)) {
            return false;
        }
        leg.seen_rseq = Some(rseq);
        let rack = format!("{rseq} {} INVITE", cseq.number);
        self.request(now, id, Method::Prack, Owner::Aside, out, |writer: Writer, _| writer.header("RAck", rack).end());
        true
    }
}

fn is_wanted(leg: &Leg, described: bool) -> bool {
    leg.can.needs_rel100 || (described && leg.can.rel100 && leg.offer.profile().reliable_provisional)
}

/// `776656 1 INVITE`: RSeq and CSeq (section 7.2).
fn read_rack(line: &[u8]) -> Option<(u32, u32)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (rseq, cseq, method) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    (method == "INVITE" && words.next().is_none()).then_some((rseq, cseq))
}
