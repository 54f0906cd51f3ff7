//! Requests within a dialog: ACK, BYE, re-INVITE, UPDATE.

use super::screen::{ALLOW, Arrived};
use super::{CallKey, Engine, Output};
use crate::base::Now;
use crate::plan::Side;
use crate::signalling::call::{Action, CallTimer, LegState};
use crate::signalling::dialog::DialogError;
use crate::signalling::flow::Flow;
use crate::signalling::transaction::T1;
use crate::wire::sip::{Message, Method};

impl Engine {
    /// The leg whose dialog a request names.
    fn leg_of(&self, request: &Message) -> Option<(CallKey, Side)> {
        let to = request.to().ok()?;
        self.by_tag.get(to.tag()?).copied()
    }

    pub(super) fn on_ack(&mut self, now: Now, ack: &Message, out: &mut Vec<Output>) {
        let Some((key, side)) = self.leg_of(ack) else { return };
        let leg = self.calls[key].leg_mut(side);
        if leg.dialog.receive(ack).is_err() {
            return;
        }
        leg.unacked = None;
        self.with_call(now, key, out, |call, acts| call.on_ack(side, acts));
    }

    pub(super) fn on_dialog_request(&mut self, now: Now, method: Method, arrived: Arrived, out: &mut Vec<Output>) {
        let Some((key, side)) = self.leg_of(&arrived.request) else {
            return self.refuse(now, &arrived, 481, "", out);
        };
        self.in_hand = Some(self.calls[key].id.clone());
        let leg = self.calls[key].leg_mut(side);
        match leg.dialog.receive(&arrived.request) {
            Err(DialogError::NotThisDialog) => return self.refuse(now, &arrived, 481, "", out),
            Err(DialogError::OutOfOrder) => return self.refuse(now, &arrived, 500, "CSeq is out of order", out),
            Ok(()) => {}
        }
        // A NAT may have given the phone another port since.
        if leg.offer.profile().behind_nat && matches!((leg.flow, arrived.flow), (Flow::Udp { .. }, Flow::Udp { .. })) {
            leg.flow = arrived.flow;
        }
        match method {
            Method::Bye => self.on_bye(now, key, side, &arrived, out),
            Method::Invite => self.on_reinvite(now, key, side, &arrived, out),
            Method::Update => self.on_update(now, key, side, &arrived, out),
            Method::Options => self.refuse(now, &arrived, 200, "", out),
            _ => {
                let writer = self.response(&arrived, 405, "").header("Allow", ALLOW);
                self.finish(now, &arrived, 405, writer.end(), out);
            }
        }
    }

    fn on_bye(&mut self, now: Now, key: CallKey, side: Side, arrived: &Arrived, out: &mut Vec<Output>) {
        match self.calls[key].leg(side).state {
            // Only the caller may end an early dialog (RFC 3261 section 15).
            LegState::Idle | LegState::Inviting | LegState::Ringing | LegState::CancelPending | LegState::Cancelling => {
                self.refuse(now, arrived, 481, "", out);
            }
            LegState::Incoming => {
                self.refuse(now, arrived, 200, "", out);
                self.with_call(now, key, out, |call, acts| call.on_cancel(now, acts));
            }
            LegState::Answering | LegState::ByeAfterAck | LegState::Confirmed | LegState::Leaving | LegState::Ended => {
                self.refuse(now, arrived, 200, "", out);
                self.calls[key].leg_mut(side).unacked = None;
                self.with_call(now, key, out, |call, acts| call.on_bye(side, now, acts));
            }
        }
    }

    /// A leg describes itself anew. It is answered by its own leg; the other one does not hear of it.
    fn on_reinvite(&mut self, now: Now, key: CallKey, side: Side, arrived: &Arrived, out: &mut Vec<Output>) {
        let bytes = match self.answer_offer(key, side, arrived) {
            Ok(bytes) => bytes,
            Err(status) => return self.refuse(now, arrived, status, "", out),
        };
        self.transactions.belongs_to(arrived.server, self.calls[key].id.clone());
        self.answer(now, key, side, arrived.server, 200, bytes.into(), out);
        self.carry_out(now, key, Action::Arm(CallTimer::NoAck(side), T1 * 64), out);
        self.with_call(now, key, out, |call, acts| call.on_reoffer(side, acts));
    }

    fn on_update(&mut self, now: Now, key: CallKey, side: Side, arrived: &Arrived, out: &mut Vec<Output>) {
        if arrived.request.body().is_empty() {
            self.calls[key].leg_mut(side).dialog.refresh_target(&arrived.request);
            let writer = self.response(arrived, 200, "");
            let bytes = self.with_contact(writer, arrived.flow).end();
            return self.finish(now, arrived, 200, bytes, out);
        }
        match self.answer_offer(key, side, arrived) {
            Ok(bytes) => {
                self.finish(now, arrived, 200, bytes, out);
                self.with_call(now, key, out, |call, acts| call.on_reoffer(side, acts));
            }
            Err(status) => self.refuse(now, arrived, status, "", out),
        }
    }

    /// The 200 to an offer within the call, with the codec that is in use if it is still offered; or the status that refuses it.
    fn answer_offer(&mut self, key: CallKey, side: Side, arrived: &Arrived) -> Result<Vec<u8>, u16> {
        let leg = self.calls[key].leg_mut(side);
        // An offer of ours or theirs is still being settled (RFC 3261 section 14.2).
        if leg.state != LegState::Confirmed || leg.unacked.is_some() {
            return Err(491);
        }
        let before = leg.offer.leg_plan().ok_or(488_u16)?.codec;
        leg.offer.receive_offer(arrived.request.body()).map_err(|_| 488_u16)?;
        let kept = leg.offer.offered().any(|codec| codec == before).then_some(before);
        let codec = kept.or_else(|| leg.offer.choose(None)).ok_or(488_u16)?;
        leg.dialog.refresh_target(&arrived.request);
        let sdp = leg.offer.write_answer(codec);
        let writer = self.response(arrived, 200, "");
        Ok(self.with_contact(writer, arrived.flow).body("application/sdp", sdp.as_bytes()))
    }
}
