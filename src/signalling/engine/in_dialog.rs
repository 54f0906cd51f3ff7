//! Requests within a dialog: ACK, BYE, re-INVITE, UPDATE.

use super::act::with_timer;
use super::screen::{ALLOW, Arrived};
use super::{Engine, Output, can, sdp_of};
use crate::base::Now;
use crate::plan::LegId;
use crate::signalling::call::session_timer::{self, Asked, SessionTimer};
use crate::signalling::call::{FreshIce, Invite, LegState, LegTimer, ReofferError};
use crate::signalling::dialog::DialogError;
use crate::signalling::flow::Flow;
use crate::signalling::transaction::T1;
use crate::wire::sip::{Message, Method, Writer};

impl Engine {
    /// The leg whose dialog a request names.
    fn leg_of(&self, request: &Message) -> Option<LegId> {
        let to = request.to().ok()?;
        self.tagged(to.tag()?).map(|leg| leg.id)
    }

    pub(super) fn on_ack(&mut self, now: Now, ack: &Message, out: &mut Vec<Output>) {
        let Some(id) = self.leg_of(ack) else { return };
        let Some(leg) = self.leg_mut(id) else { return };
        if leg.dialog.receive(ack).is_err() {
            return;
        }
        // An older 2xx, which came twice, is acknowledged twice.
        let seq = ack.cseq().map(|cseq| cseq.number);
        if leg.unacked.take_if(|unacked| Ok(unacked.seq) == seq).is_none() {
            return;
        }
        if let Invite::Uas { request, .. } = &mut leg.invite {
            *request = None;
        }
        self.with_leg(now, id, out, |call, acts| call.on_ack(id, sdp_of(ack), now, acts));
    }

    pub(super) fn on_dialog_request(&mut self, now: Now, method: Method, arrived: Arrived, out: &mut Vec<Output>) {
        let Some(id) = self.leg_of(&arrived.request) else {
            return self.refuse(now, &arrived, 481, "", out);
        };
        self.in_hand = self.call_id_of(id);
        let Some(leg) = self.leg_mut(id) else { return self.refuse(now, &arrived, 481, "", out) };
        match leg.dialog.receive(&arrived.request) {
            Err(DialogError::NotThisDialog) => return self.refuse(now, &arrived, 481, "", out),
            Err(DialogError::OutOfOrder) => return self.refuse(now, &arrived, 500, "CSeq is out of order", out),
            Ok(()) => {}
        }
        self.follow(now, id, arrived.flow, out);
        match method {
            Method::Bye => self.on_bye(now, id, &arrived, out),
            Method::Invite => self.on_reinvite(now, id, &arrived, out),
            Method::Update => self.on_update(now, id, &arrived, out),
            Method::Prack => self.on_prack(now, id, &arrived, out),
            Method::Info => self.on_info(now, id, &arrived, out),
            Method::Refer => self.on_refer(now, id, arrived, out),
            Method::Options => self.refuse(now, &arrived, 200, "", out),
            _ => {
                let writer = self.response(&arrived, 405, "").header("Allow", ALLOW);
                self.finish(now, &arrived, 405, writer.end(), out);
            }
        }
    }

    /// A request that comes another way: a NAT may have given the phone another port since; a browser's other WebSocket is
    /// believed when the same account has registered over it (RFC 5626).
    fn follow(&mut self, now: Now, id: LegId, flow: Flow, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id).filter(|leg| leg.flow != flow) else { return };
        let moved = match (leg.flow, flow) {
            (Flow::Udp { .. }, Flow::Udp { .. }) => leg.offer.profile().behind_nat,
            (Flow::WebSocket(_), Flow::WebSocket(_)) => self.registrar.account_of(flow).is_some_and(|account| leg.is_of(account)),
            _ => false,
        };
        if moved {
            self.with_leg(now, id, out, |call, acts| call.on_flow_moved(id, flow, acts));
        }
    }

    fn on_bye(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        let Some(leg) = self.leg_mut(id) else { return };
        match leg.state {
            // Only the caller may end an early dialog (RFC 3261 section 15).
            LegState::Idle | LegState::Inviting | LegState::Ringing | LegState::CancelPending | LegState::Cancelling => {
                self.refuse(now, arrived, 481, "", out);
            }
            LegState::Incoming => {
                self.refuse(now, arrived, 200, "", out);
                self.with_leg(now, id, out, |call, acts| call.on_cancel(id, now, acts));
            }
            LegState::Answering | LegState::ByeAfterAck | LegState::Confirmed | LegState::Leaving | LegState::Ended => {
                self.refuse(now, arrived, 200, "", out);
                self.with_leg(now, id, out, |call, acts| call.on_bye(id, now, acts));
            }
        }
    }

    /// A leg describes itself anew, or asks us to. Its own leg answers; the other one does not hear of it but by what media
    /// plays to it.
    fn on_reinvite(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        let fresh = self.fresh_ice();
        let mut sdp = Err(ReofferError::Pending);
        self.with_leg(now, id, out, |call, acts| {
            sdp = match sdp_of(&arrived.request) {
                Some(offer) => call.on_reoffer(id, offer, fresh, acts),
                None => call.on_offerless(id),
            };
        });
        let sdp = match sdp {
            Ok(sdp) => sdp,
            Err(error) => return self.refuse_offer(now, arrived, error, out),
        };
        let writer = self.refreshed(now, id, arrived, out);
        let bytes = writer.body("application/sdp", sdp.as_bytes());
        if let Some(call) = self.call_id_of(id) {
            self.transactions.belongs_to(arrived.server, call);
        }
        let seq = arrived.request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        self.answer(now, id, arrived.server, seq, 200, bytes.into(), out);
        self.arm(now, id, LegTimer::NoAck, T1 * 64);
    }

    fn on_update(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        if arrived.request.body().is_empty() {
            let bytes = self.refreshed(now, id, arrived, out).end();
            return self.finish(now, arrived, 200, bytes, out);
        }
        self.answer_offer_by_200(now, id, arrived, out);
    }

    /// Answers the offer in an UPDATE or PRACK.
    pub(super) fn answer_offer_by_200(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        let fresh = self.fresh_ice();
        let mut sdp = Err(ReofferError::Pending);
        self.with_leg(now, id, out, |call, acts| sdp = call.on_reoffer(id, arrived.request.body(), fresh, acts));
        match sdp {
            Ok(sdp) => {
                let bytes = self.refreshed(now, id, arrived, out).body("application/sdp", sdp.as_bytes());
                self.finish(now, arrived, 200, bytes, out);
            }
            Err(error) => self.refuse_offer(now, arrived, error, out),
        }
    }

    fn refuse_offer(&mut self, now: Now, arrived: &Arrived, error: ReofferError, out: &mut Vec<Output>) {
        let status = match error {
            ReofferError::Pending => 491,
            ReofferError::NotAcceptable => 488,
        };
        self.refuse(now, arrived, status, "", out);
    }

    fn fresh_ice(&mut self) -> FreshIce {
        FreshIce { ufrag: self.rng.word(8), pwd: self.rng.word(26) }
    }

    /// The 200 to a re-INVITE or UPDATE, which refreshes target and session (RFC 3261 section 12.2.2, RFC 4028 section 9).
    fn refreshed(&mut self, now: Now, id: LegId, arrived: &Arrived, out: &mut Vec<Output>) -> Writer {
        let writer = self.response(arrived, 200, "");
        let mut writer = self.with_contact(writer, arrived.flow);
        let Some(leg) = self.leg_mut(id) else { return writer };
        leg.dialog.refresh_target(&arrived.request);
        let asked = session_timer::asked(&arrived.request);
        let knows = can(&arrived.request).timer;
        let timer: Option<SessionTimer> = match asked {
            // Who refreshes without a word of timers keeps the one that was agreed.
            Asked::Nothing => leg.timer,
            asked => session_timer::grant(asked, knows, leg.offer.profile().session_expires_secs),
        };
        if leg.state == LegState::Confirmed {
            self.with_leg(now, id, out, |call, acts| call.on_refreshed(id, timer, acts));
        }
        if let Some(leg) = self.leg(id) {
            writer = with_timer(writer, leg);
        }
        writer
    }
}
