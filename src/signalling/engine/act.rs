//! Carries a call's actions out: the only place where a call's SIP messages are written.

use bytes::Bytes;

use super::provisional::Turn;
use super::screen::ALLOW;
use super::{CallKey, Engine, Output, Owner, TimerKey};
use crate::base::Now;
use crate::plan::LegId;
use crate::signalling::call::session_timer::MIN_SE_SECS;
use crate::signalling::call::{Action, CallTimer, Invite, Leg, LegError, LegTimer, Unacked};
use crate::signalling::flow::Flow;
use crate::signalling::transaction::{ClientId, ServerId, T1, T2, Transmit};
use crate::wire::sip::{HeaderName, Host, Message, Method, Uri, Writer, quote, response_to};

/// Max-Forwards of a request within a dialog (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: u8 = 70;
/// What our INVITEs and 2xx say that we know.
const KNOWN: &str = "timer, replaces";
/// RFC 3326, as the other devices of an account show it: not a missed call.
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

impl Engine {
    pub(super) fn carry_out(&mut self, now: Now, key: CallKey, action: Action, out: &mut Vec<Output>) {
        match action {
            Action::Respond { leg, status, reason, sdp } => self.respond_invite(now, leg, status, reason, sdp, out),
            Action::Ring { stage } => self.ring_stage(now, key, stage, out),
            Action::Invite { leg, sdp } => self.send_invite(now, leg, &sdp, out),
            Action::Ack(leg) => self.send_ack(now, leg, out),
            Action::Cancel { leg, elsewhere } => {
                if let Some(client) = self.leg(leg).and_then(|leg| leg.client) {
                    let mut sent = Vec::new();
                    let reason = elsewhere.then_some(ELSEWHERE);
                    self.transactions.cancel(now.mono, client, reason, Owner::Aside, &mut sent);
                    self.transmit(now, sent, out);
                }
            }
            Action::Bye { leg, reason } => self.send_bye(now, leg, reason, out),
            Action::Abandon(leg) => {
                if let Some(client) = self.leg(leg).and_then(|leg| leg.client) {
                    self.transactions.abandon(client);
                }
            }
            Action::Refresh { leg, sdp } => self.send_refresh(now, leg, sdp, out),
            Action::SendKey(leg) => self.send_key(now, leg, out),
            Action::Notify { leg, status, last } => self.notify_refer(now, leg, status, last, out),
            Action::Media(command) => out.push(Output::Media(command)),
            Action::Arm(timer, after) => self.arm_key(now, timer_key(key, timer), timer.name(), after),
            Action::Disarm(timer) => self.disarm(timer_key(key, timer)),
        }
    }

    pub(super) fn arm(&mut self, now: Now, leg: LegId, timer: LegTimer, after: std::time::Duration) {
        self.arm_key(now, TimerKey::Leg(leg, timer), CallTimer::Leg(leg, timer).name(), after);
    }

    fn arm_key(&mut self, now: Now, key: TimerKey, name: &'static str, after: std::time::Duration) {
        self.disarm(key);
        let deadline = self.deadlines.arm(now.mono + after, key, name);
        self.armed.insert(key, deadline);
    }

    fn respond_invite(
        &mut self,
        now: Now,
        id: LegId,
        status: u16,
        reason: &'static str,
        sdp: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let rseq = match self.turn(id, status, reason, sdp.as_ref()) {
            Turn::Later => return,
            Turn::Plain => None,
            Turn::Reliable(rseq) => Some(rseq),
        };
        if status >= 300 {
            self.forget_1xx(id);
        }
        let Some(leg) = self.leg(id) else { return };
        let Invite::Uas { server, request: Some(request), .. } = &leg.invite else { return };
        let (server, flow) = (*server, leg.flow);
        // Over a closed WebSocket there is nobody to answer, and no transaction.
        let Some(source) = self.remote_of(flow) else { return };
        let mut writer = response_to(request, status, reason, Some(&leg.dialog.local_tag), source);
        if (101..300).contains(&status) {
            for route in request.lines(HeaderName::RecordRoute) {
                writer = writer.raw("Record-Route", route);
            }
            writer = self.with_contact(writer, flow).header("Supported", KNOWN);
        }
        if let Some(rseq) = rseq {
            writer = writer.header("Require", "100rel").header("RSeq", rseq);
        }
        if status / 100 == 2 {
            writer = with_timer(writer, leg);
        }
        let bytes: Bytes = match sdp {
            Some(sdp) => writer.body("application/sdp", sdp.as_bytes()),
            None => writer.end(),
        }
        .into();
        let seq = leg.invite_seq;
        self.answer(now, id, server, seq, status, bytes.clone(), out);
        if rseq.is_some() {
            self.wait_for_prack(now, id, server, bytes);
        }
    }

    /// Gives a final or provisional response to an INVITE on a leg; a 2xx is kept until it is acknowledged.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn answer(
        &mut self,
        now: Now,
        id: LegId,
        server: ServerId,
        seq: u32,
        status: u16,
        bytes: Bytes,
        out: &mut Vec<Output>,
    ) {
        if status / 100 == 2
            && let Some(leg) = self.leg_mut(id)
        {
            leg.unacked = Some(Unacked { server, seq, bytes: bytes.clone(), times: 0 });
            if !leg.flow.is_reliable() {
                self.arm(now, id, LegTimer::Retransmit2xx, T1);
            }
        }
        let mut sent = Vec::new();
        self.transactions.respond(now.mono, server, status, bytes, &mut sent);
        self.transmit(now, sent, out);
    }

    /// RFC 3261 section 13.3.1.4: at T1, doubling to T2, until the ACK comes or 64 T1 are over.
    pub(super) fn retransmit_2xx(&mut self, now: Now, id: LegId, out: &mut Vec<Output>) {
        let Some(unacked) = self.leg_mut(id).and_then(|leg| leg.unacked.as_mut()) else { return };
        unacked.times += 1;
        let after = (T1 * 2u32.saturating_pow(unacked.times.min(8))).min(T2);
        let (server, bytes) = (unacked.server, unacked.bytes.clone());
        let mut sent = Vec::new();
        self.transactions.respond(now.mono, server, 200, bytes, &mut sent);
        self.transmit(now, sent, out);
        self.arm(now, id, LegTimer::Retransmit2xx, after);
    }

    pub(super) fn send_invite(&mut self, now: Now, id: LegId, sdp: &str, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let Invite::Uac { max_forwards } = leg.invite else { return };
        let profile = leg.offer.profile();
        let known = if profile.reliable_provisional { format!("{KNOWN}, 100rel") } else { KNOWN.to_owned() };
        let (asks_secs, min_se_secs) = (profile.session_expires_secs.max(leg.min_se_secs), leg.min_se_secs);
        let asks = profile.session_expires_secs > 0 || min_se_secs > 0;
        let sent = self.request_with(now, id, Method::Invite, max_forwards, Owner::Invite(id), out, |mut writer, _| {
            writer = writer.header("Supported", known);
            if asks {
                writer = writer.header("Session-Expires", asks_secs).header("Min-SE", min_se_secs.max(MIN_SE_SECS));
            }
            writer.body("application/sdp", sdp.as_bytes())
        });
        match (sent, self.leg_mut(id)) {
            (Some(client), Some(leg)) => (leg.client, leg.invite_seq) = (Some(client), leg.dialog.local_seq),
            _ => self.with_leg(now, id, out, |call, acts| call.on_failure(id, LegError::Status(503), now, acts)),
        }
    }

    fn send_refresh(&mut self, now: Now, id: LegId, sdp: Option<String>, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let timer = leg.timer.map(|timer| timer.in_request());
        let min_se_secs = leg.min_se_secs.max(MIN_SE_SECS);
        let method = if sdp.is_some() { Method::Invite } else { Method::Update };
        let sent = self.request(now, id, method, Owner::Refresh(id), out, |mut writer, _| {
            writer = writer.header("Supported", KNOWN).headers("Session-Expires", timer).header("Min-SE", min_se_secs);
            match sdp {
                Some(sdp) => writer.body("application/sdp", sdp.as_bytes()),
                None => writer.end(),
            }
        });
        match (sent, self.leg_mut(id)) {
            (Some(client), Some(leg)) if method == Method::Invite => {
                (leg.client, leg.invite_seq) = (Some(client), leg.dialog.local_seq);
            }
            (Some(_), _) => {}
            (None, _) => self.refresh_failed(now, id, LegError::Status(500), 0, out),
        }
    }

    fn send_ack(&mut self, now: Now, id: LegId, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let flow = self.flow_in_dialog(leg);
        let (_, via) = self.via(flow);
        let Some(leg) = self.leg(id) else { return };
        let bytes: Bytes = leg.dialog.ack(leg.invite_seq, &via, MAX_FORWARDS).end().into();
        if let Some(client) = leg.client {
            let remote_tag = leg.dialog.remote_tag.clone();
            self.transactions.acknowledged(client, flow, bytes.clone(), remote_tag);
        }
        let call = self.call_id_of(id);
        self.transmit(now, vec![Transmit { flow, bytes, call }], out);
    }

    fn send_bye(&mut self, now: Now, id: LegId, reason: Option<(u16, String)>, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let reason = reason.map(|(status, text)| format!("SIP;cause={status};text={}", quote(&text)));
        let sent = if leg.flow_closed {
            None
        } else {
            self.request(now, id, Method::Bye, Owner::Bye(id), out, |writer, _| writer.headers("Reason", reason).end())
        };
        if sent.is_none() {
            self.with_leg(now, id, out, |call, _| call.on_bye_done(id));
        }
    }

    /// Sends a request within a leg's dialog; none when there is no room for its transaction.
    pub(super) fn request(
        &mut self,
        now: Now,
        id: LegId,
        method: Method,
        owner: Owner,
        out: &mut Vec<Output>,
        complete: impl FnOnce(Writer, &Leg) -> Vec<u8>,
    ) -> Option<ClientId> {
        self.request_with(now, id, method, MAX_FORWARDS, owner, out, complete)
    }

    #[allow(clippy::too_many_arguments)]
    fn request_with(
        &mut self,
        now: Now,
        id: LegId,
        method: Method,
        max_forwards: u8,
        owner: Owner,
        out: &mut Vec<Output>,
        complete: impl FnOnce(Writer, &Leg) -> Vec<u8>,
    ) -> Option<ClientId> {
        let leg = self.leg(id)?;
        // The first INVITE goes where the leg is; what follows goes where its dialog says.
        let flow = if leg.dialog.remote_tag.is_some() { self.flow_in_dialog(leg) } else { leg.flow };
        let (branch, via) = self.via(flow);
        let contact = self.contact(flow);
        let call = self.call_id_of(id);
        let leg = self.leg_mut(id)?;
        let mut writer = leg.dialog.request(method, &via, max_forwards);
        if method != Method::Bye {
            writer = writer.header("Contact", contact).header("Allow", ALLOW);
        }
        let bytes = complete(writer, leg);
        let mut sent = Vec::new();
        let client = self.transactions.send_request(now.mono, method, &branch, flow, bytes.into(), owner, call, &mut sent);
        self.transmit(now, sent, out);
        client
    }

    /// A second 2xx from another end (a proxy forked our INVITE), or one that comes when all is over: it is acknowledged and
    /// ended (RFC 3261 section 13.2.2.4).
    pub(super) fn end_other_branch(&mut self, now: Now, id: LegId, client: ClientId, response: &Message, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let mut dialog = leg.dialog.clone();
        dialog.learn(response);
        let (flow, seq, call) = (self.flow_in_dialog(leg), leg.invite_seq, self.call_id_of(id));
        let (_, via) = self.via(flow);
        let ack: Bytes = dialog.ack(seq, &via, MAX_FORWARDS).end().into();
        self.transactions.acknowledged(client, flow, ack.clone(), dialog.remote_tag.clone());
        self.transmit(now, vec![Transmit { flow, bytes: ack, call: call.clone() }], out);
        let (branch, via) = self.via(flow);
        let bye = dialog.request(Method::Bye, &via, MAX_FORWARDS).end();
        let mut sent = Vec::new();
        // A peer that has no room to be told hears nothing more from us, and ends it by itself.
        self.transactions.send_request(now.mono, Method::Bye, &branch, flow, bye.into(), Owner::Aside, call, &mut sent);
        self.transmit(now, sent, out);
    }

    /// Where a request within a leg's dialog goes: over the flow that the peer used, or, to a peer that is where it says it
    /// is, to its route or target (RFC 3261 section 12.2.1.1).
    pub(super) fn flow_in_dialog(&self, leg: &Leg) -> Flow {
        let Flow::Udp { local, .. } = leg.flow else { return leg.flow };
        if leg.offer.profile().behind_nat {
            return leg.flow;
        }
        let next_hop = leg.dialog.next_hop();
        match Uri::parse(next_hop.as_bytes()) {
            Ok(Uri { host: Some(Host::Ip(ip)), port, .. }) if ip.is_ipv4() == local.is_ipv4() => {
                Flow::Udp { local, remote: (ip, port.unwrap_or(5060)).into() }
            }
            // Names need DNS; until then the flow is the best guess.
            _ => leg.flow,
        }
    }

    /// A branch and the Via that bears it.
    pub(super) fn via(&mut self, flow: Flow) -> (String, String) {
        let branch = format!("z9hG4bK{}", self.rng.token(22));
        let (transport, sent_by) = self.transport_and_address(flow);
        let rport = if flow.is_reliable() { "" } else { ";rport" };
        let via = format!("SIP/2.0/{transport} {sent_by}{rport};branch={branch}");
        (branch, via)
    }

    /// Our Contact toward a flow.
    pub(super) fn contact(&self, flow: Flow) -> String {
        let (_, address) = self.transport_and_address(flow);
        let transport = if flow.is_reliable() { ";transport=ws" } else { "" };
        format!("<sip:ringway@{address}{transport}>")
    }

    fn transport_and_address(&self, flow: Flow) -> (&'static str, String) {
        match flow {
            Flow::Udp { local, .. } => ("UDP", local.to_string()),
            // Behind a closed WebSocket nobody reads it.
            Flow::WebSocket(id) => self.connections.get(&id).map_or_else(
                || ("WSS", "invalid.invalid".to_owned()),
                |c| (if c.secure { "WSS" } else { "WS" }, c.local.to_string()),
            ),
        }
    }

    /// Completes a 2xx to a request within a dialog.
    pub(super) fn with_contact(&self, writer: Writer, flow: Flow) -> Writer {
        writer.header("Contact", self.contact(flow)).header("Allow", ALLOW)
    }
}

fn timer_key(key: CallKey, timer: CallTimer) -> TimerKey {
    match timer {
        CallTimer::Leg(leg, timer) => TimerKey::Leg(leg, timer),
        of_call => TimerKey::Call(key, of_call),
    }
}

/// What a leg's 2xx says of its session timer (RFC 4028 section 9): who is to refresh must know that it is.
pub(super) fn with_timer(writer: Writer, leg: &Leg) -> Writer {
    let Some(timer) = leg.timer else { return writer };
    let writer = writer.header("Session-Expires", timer.in_response());
    if timer.ours || !leg.can.timer { writer } else { writer.header("Require", "timer") }
}
