//! Carries a call's actions out: the only place where a call's SIP messages are written.

use std::sync::Arc;

use bytes::Bytes;

use super::screen::ALLOW;
use super::{CallKey, Engine, Kind, Output, Owner};
use crate::base::Now;
use crate::plan::Side;
use crate::signalling::call::{Action, CallTimer, Invite, Leg, LegError};
use crate::signalling::flow::Flow;
use crate::signalling::transaction::{T1, T2, Transmit};
use crate::wire::sip::{HeaderName, Host, Message, Method, Uri, Writer, response_to};

/// Max-Forwards of a request within a dialog (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: u8 = 70;

impl Engine {
    pub(super) fn carry_out(&mut self, now: Now, key: CallKey, action: Action, out: &mut Vec<Output>) {
        // A call can end, and be forgotten, by one of its own actions.
        if !self.calls.contains_key(key) {
            return;
        }
        match action {
            Action::Respond { status, reason, sdp } => self.respond_invite(now, key, status, reason, sdp, out),
            Action::Invite { sdp } => self.send_invite(now, key, &sdp, out),
            Action::Ack => self.send_ack(now, key, out),
            Action::Cancel => {
                if let Invite::Uac { client: Some(client), .. } = self.calls[key].leg(Side::B).invite {
                    let mut sent = Vec::new();
                    self.transactions.cancel(now.mono, client, Owner::Call { call: key, kind: Kind::Aside }, &mut sent);
                    self.transmit(now, sent, out);
                }
            }
            Action::Bye(side) => self.send_bye(now, key, side, out),
            Action::Abandon => {
                if let Invite::Uac { client: Some(client), .. } = self.calls[key].leg(Side::B).invite {
                    self.transactions.abandon(client);
                }
            }
            Action::Media(command) => out.push(Output::Media(command)),
            Action::Arm(timer, after) => {
                self.disarm(key, timer);
                let deadline = self.deadlines.arm(now.mono + after, (key, timer), timer.name());
                self.armed.insert((key, timer), deadline);
            }
            Action::Disarm(timer) => self.disarm(key, timer),
        }
    }

    fn disarm(&mut self, key: CallKey, timer: CallTimer) {
        if let Some(deadline) = self.armed.remove(&(key, timer)) {
            self.deadlines.disarm(deadline);
        }
    }

    fn respond_invite(&mut self, now: Now, key: CallKey, status: u16, reason: &str, sdp: Option<String>, out: &mut Vec<Output>) {
        let leg = &self.calls[key].a;
        let Invite::Uas { server, request } = &leg.invite else { return };
        let (server, flow) = (*server, leg.flow);
        // Over a closed WebSocket there is nobody to answer, and no transaction.
        let Some(source) = self.remote_of(flow) else { return };
        let mut writer = response_to(request, status, reason, Some(&leg.dialog.local_tag), source);
        if (101..300).contains(&status) {
            for route in request.lines(HeaderName::RecordRoute) {
                writer = writer.raw("Record-Route", route);
            }
            writer = writer.header("Contact", self.contact(flow)).header("Allow", ALLOW);
        }
        let bytes: Bytes = match sdp {
            Some(sdp) => writer.body("application/sdp", sdp.as_bytes()),
            None => writer.end(),
        }
        .into();
        self.answer(now, key, Side::A, server, status, bytes, out);
    }

    /// Gives a final or provisional response to an INVITE on a leg; a 2xx is kept until it is acknowledged.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn answer(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        server: crate::signalling::transaction::ServerId,
        status: u16,
        bytes: Bytes,
        out: &mut Vec<Output>,
    ) {
        if status / 100 == 2 {
            let leg = self.calls[key].leg_mut(side);
            leg.unacked = Some((server, bytes.clone(), 0));
            if !leg.flow.is_reliable() {
                self.carry_out(now, key, Action::Arm(CallTimer::Retransmit2xx(side), T1), out);
            }
        }
        let mut sent = Vec::new();
        self.transactions.respond(now.mono, server, status, bytes, &mut sent);
        self.transmit(now, sent, out);
    }

    /// RFC 3261 section 13.3.1.4: at T1, doubling to T2, until the ACK comes or 64 T1 are over.
    pub(super) fn retransmit_2xx(&mut self, now: Now, key: CallKey, side: Side, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some((server, bytes, times)) = &mut call.leg_mut(side).unacked else { return };
        *times += 1;
        let after = (T1 * 2u32.saturating_pow((*times).min(8))).min(T2);
        let (server, bytes) = (*server, bytes.clone());
        let mut sent = Vec::new();
        self.transactions.respond(now.mono, server, 200, bytes, &mut sent);
        self.transmit(now, sent, out);
        self.carry_out(now, key, Action::Arm(CallTimer::Retransmit2xx(side), after), out);
    }

    fn send_invite(&mut self, now: Now, key: CallKey, sdp: &str, out: &mut Vec<Output>) {
        let flow = self.calls[key].leg(Side::B).flow;
        let (branch, via) = self.via(flow);
        let contact = self.contact(flow);
        let call = &mut self.calls[key];
        let id = call.id.clone();
        let leg = call.leg_mut(Side::B);
        let Invite::Uac { max_forwards, .. } = leg.invite else { return };
        let bytes = leg
            .dialog
            .request(Method::Invite, &via, max_forwards)
            .header("Contact", contact)
            .header("Allow", ALLOW)
            .body("application/sdp", sdp.as_bytes());
        let owner = Owner::Call { call: key, kind: Kind::Invite };
        let mut sent = Vec::new();
        let client =
            self.transactions.send_request(now.mono, Method::Invite, &branch, flow, bytes.into(), owner, Some(id), &mut sent);
        self.transmit(now, sent, out);
        match client {
            Some(_) => self.calls[key].leg_mut(Side::B).invite = Invite::Uac { client, max_forwards },
            None => self.with_call(now, key, out, |call, acts| call.on_failure(LegError::Status(503), now, acts)),
        }
    }

    fn send_ack(&mut self, now: Now, key: CallKey, out: &mut Vec<Output>) {
        let leg = self.calls[key].leg(Side::B);
        let flow = self.flow_in_dialog(leg);
        let (_, via) = self.via(flow);
        let call = &mut self.calls[key];
        let id = call.id.clone();
        let leg = call.leg_mut(Side::B);
        let bytes: Bytes = leg.dialog.request(Method::Ack, &via, MAX_FORWARDS).end().into();
        if let Invite::Uac { client: Some(client), .. } = leg.invite {
            self.transactions.acknowledged(client, flow, bytes.clone(), leg.dialog.remote_tag.clone());
        }
        self.transmit(now, vec![Transmit { flow, bytes, call: Some(id) }], out);
    }

    fn send_bye(&mut self, now: Now, key: CallKey, side: Side, out: &mut Vec<Output>) {
        let leg = self.calls[key].leg(side);
        let (flow, closed) = (self.flow_in_dialog(leg), leg.flow_closed);
        let (branch, via) = self.via(flow);
        let call = &mut self.calls[key];
        let id = call.id.clone();
        let bytes = call.leg_mut(side).dialog.request(Method::Bye, &via, MAX_FORWARDS).end();
        if closed || !self.bye(now, Owner::Call { call: key, kind: Kind::Bye(side) }, &branch, flow, bytes, id, out) {
            self.calls[key].on_bye_done(side);
        }
    }

    /// Sends a BYE; false when there was no room for its transaction.
    #[allow(clippy::too_many_arguments)]
    fn bye(
        &mut self,
        now: Now,
        owner: Owner,
        branch: &str,
        flow: Flow,
        bytes: Vec<u8>,
        id: Arc<str>,
        out: &mut Vec<Output>,
    ) -> bool {
        let mut sent = Vec::new();
        let client =
            self.transactions.send_request(now.mono, Method::Bye, branch, flow, bytes.into(), owner, Some(id), &mut sent);
        self.transmit(now, sent, out);
        client.is_some()
    }

    /// A second 2xx from another end (a proxy forked our INVITE): it is acknowledged and ended (RFC 3261 section 13.2.2.4).
    pub(super) fn end_other_branch(&mut self, now: Now, key: CallKey, response: &Message, out: &mut Vec<Output>) {
        let leg = self.calls[key].leg(Side::B);
        let (flow, mut dialog, id) = (self.flow_in_dialog(leg), leg.dialog.clone(), self.calls[key].id.clone());
        dialog.learn(response);
        let (_, via) = self.via(flow);
        let ack = dialog.request(Method::Ack, &via, MAX_FORWARDS).end();
        self.transmit(now, vec![Transmit { flow, bytes: ack.into(), call: Some(id.clone()) }], out);
        let (branch, via) = self.via(flow);
        let bye = dialog.request(Method::Bye, &via, MAX_FORWARDS).end();
        // A peer that has no room to be told hears nothing more from us, and ends it by itself.
        self.bye(now, Owner::Call { call: key, kind: Kind::Aside }, &branch, flow, bye, id, out);
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
