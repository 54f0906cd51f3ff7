//! REFER (RFC 3515) and Replaces (RFC 3891): who may transfer whom where, and who may take whose place.

use super::screen::{Arrived, Sender, Waiting};
use super::{Engine, Output, Owner};
use crate::base::Now;
use crate::plan::LegId;
use crate::policy::account::Account;
use crate::policy::dialplan::{Decision, Intent, Target};
use crate::signalling::call::Party;
use crate::signalling::call::ring::Ring;
use crate::wire::sip::{HeaderName, Message, Method, NameAddr, Replaces, reason_phrase};

impl Engine {
    pub(super) fn on_refer(&mut self, now: Now, by: LegId, arrived: Arrived, out: &mut Vec<Output>) {
        let call = self.by_leg.get(&by).and_then(|key| self.calls.get(*key));
        if call.and_then(|call| call.transferable_by(by)).is_none() {
            return self.refuse(now, &arrived, 480, "Nobody can be transferred now", out);
        }
        let Some((number, replaces)) = read_refer_to(&arrived.request) else {
            return self.refuse(now, &arrived, 400, "One Refer-To with a SIP or tel URI is expected", out);
        };
        match replaces {
            Some(value) => self.transfer_attended(now, by, &arrived, &value, out),
            None => self.ask(Waiting::Target { arrived, by, number: number.clone() }, number.to_lowercase(), out),
        }
    }

    /// The directory has told whose number a blind transfer goes to.
    pub(super) fn on_target(
        &mut self,
        now: Now,
        arrived: &Arrived,
        by: LegId,
        number: &str,
        account: Option<Account>,
        out: &mut Vec<Output>,
    ) {
        let Some(call) = self.by_leg.get(&by).and_then(|key| self.calls.get(*key)) else {
            return self.refuse(now, arrived, 481, "", out);
        };
        let Some(party) = call.transferable_by(by) else {
            return self.refuse(now, arrived, 480, "Nobody can be transferred now", out);
        };
        // The one who transfers must be allowed to call there itself.
        let decision = self.decide(&call.leg(by).party.clone(), number, account.as_ref());
        let ring = match decision.target {
            Target::Refuse { status } => return self.refuse(now, arrived, status, "", out),
            Target::Echo | Target::Tone { .. } => return self.refuse(now, arrived, 403, "Nobody is there to talk to", out),
            target => Ring::new(party, target, decision.forward, decision.ring_secs).preferring(decision.prefer),
        };
        self.accept_refer(now, by, arrived, out);
        self.with_leg(now, by, out, |call, acts| call.transfer(by, party, ring, now, acts));
    }

    /// Where the dialplan sends a number that a party dials.
    pub(super) fn decide(&self, party: &Party, number: &str, account: Option<&Account>) -> Decision {
        let intent = Intent { dialled: number, account: account.map(|a| a.name.as_str()), from: party.caller() };
        self.config.dialplan.route(&intent)
    }

    fn accept_refer(&mut self, now: Now, by: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        // RFC 4488: one who does not want to be told is not told.
        let told = !arrived.request.line_named("Refer-Sub").is_some_and(|value| value.eq_ignore_ascii_case(b"false"));
        let cseq = arrived.request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let writer = self.response(arrived, 202, "");
        let writer = if told { writer } else { writer.header("Refer-Sub", "false") };
        let bytes = self.with_contact(writer, arrived.flow).end();
        self.finish(now, arrived, 202, bytes, out);
        if let Some(leg) = self.leg_mut(by) {
            leg.refer = told.then_some(cseq);
        }
    }

    /// `by` hands the one that it talks to over to the one that it talks to in another call.
    fn transfer_attended(&mut self, now: Now, by: LegId, arrived: &Arrived, replaces: &str, out: &mut Vec<Output>) {
        let old = Replaces::parse(replaces.as_bytes()).ok().and_then(|replaces| self.leg_replaced(&replaces));
        let Some(old) = old else { return self.refuse(now, arrived, 404, "No such call to transfer to", out) };
        let (from, to) = (self.by_leg[&by], self.by_leg[&old]);
        let own = self.calls[from].leg(by).party == self.calls[to].leg(old).party;
        let Some(party) = self.calls[from].transferable_by(by).filter(|_| own && from != to && self.calls[to].takes_in(old))
        else {
            return self.refuse(now, arrived, 403, "That call cannot be transferred to", out);
        };
        self.accept_refer(now, by, arrived, out);
        let mut given = None;
        self.with_call(now, from, out, |call, acts| given = Some(call.give_away(by, party, now, acts)));
        let Some(leg) = given else { return };
        self.by_leg.insert(leg.id, to);
        self.with_call(now, to, out, |call, acts| call.take_in(leg, old, acts));
    }

    /// The leg whose dialog a Replaces names: our tag first (RFC 3891 section 3), or last, as JsSIP has it where it was called.
    /// All three parts must fit either way.
    fn leg_replaced(&self, replaces: &Replaces) -> Option<LegId> {
        let named = |ours: &str, theirs: &str| {
            let leg = self.tagged(ours)?;
            let same = leg.dialog.call_id == replaces.call_id && leg.dialog.remote_tag.as_deref() == Some(theirs);
            same.then_some(leg.id)
        };
        let (to, from) = (&replaces.to_tag, &replaces.from_tag);
        named(to, from).or_else(|| named(from, to))
    }

    /// An INVITE that takes the place of a leg of its sender's own, as a page does after it was loaded again.
    pub(super) fn replace(&mut self, now: Now, arrived: &Arrived, sender: &Sender, out: &mut Vec<Output>) {
        let replaces = arrived.request.line_named("Replaces").and_then(|value| Replaces::parse(value).ok());
        let Some(replaces) = replaces else { return self.refuse(now, arrived, 400, "Malformed Replaces", out) };
        let Some(old) = self.leg_replaced(&replaces) else { return self.refuse(now, arrived, 481, "", out) };
        let call = &self.calls[self.by_leg[&old]];
        if call.leg(old).party != sender.party {
            return self.refuse(now, arrived, 403, "Not your call", out);
        }
        if replaces.early_only {
            return self.refuse(now, arrived, 486, "", out);
        }
        if !call.is_replaceable(old) {
            return self.refuse(now, arrived, 481, "", out);
        }
        let leg = match self.leg_a(arrived, sender) {
            Ok(leg) => leg,
            Err((status, reason)) => return self.refuse(now, arrived, status, reason, out),
        };
        let key = self.by_leg[&old];
        self.remember(key, &leg);
        self.transactions.belongs_to(arrived.server, self.calls[key].id.clone());
        self.with_call(now, key, out, |call, acts| call.replace(leg, old, acts));
    }

    /// Tells one who transfers how it goes: a fragment of the response (RFC 3420), as RFC 3515 section 2.4.5 has it.
    pub(super) fn notify_refer(&mut self, now: Now, id: LegId, status: u16, last: bool, out: &mut Vec<Output>) {
        let Some(leg) = self.leg_mut(id) else { return };
        let Some(cseq) = leg.refer else { return };
        if last {
            leg.refer = None;
        }
        let state = if last { "terminated;reason=noresource" } else { "active;expires=180" };
        let body = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        self.request(now, id, Method::Notify, Owner::Aside, out, |writer, _| {
            writer
                .header("Event", format_args!("refer;id={cseq}"))
                .header("Subscription-State", state)
                .body("message/sipfrag;version=2.0", body.as_bytes())
        });
    }

    /// A device redirects (3xx): each of its targets is looked up, within limits, as if its owner had dialled it.
    pub(super) fn on_redirect(&mut self, now: Now, id: LegId, response: &Message, out: &mut Vec<Output>) {
        let contacts = response.values(HeaderName::Contact).flatten();
        let numbers: Vec<String> =
            contacts.filter_map(|contact| NameAddr::parse(contact).ok()?.uri.user_decoded()).take(8).collect();
        let Some(leg) = self.leg(id) else { return };
        let party = leg.party.clone();
        let waiting = self.calls[self.by_leg[&id]].waiting_leg().map(|leg| leg.id);
        let mut granted = 0;
        self.with_leg(now, id, out, |call, acts| granted = call.on_redirect(id, numbers.len(), now, acts));
        let Some(waiting) = waiting else { return };
        for number in numbers.into_iter().take(granted) {
            self.ask(Waiting::Redirection { waiting, party: party.clone(), number: number.clone() }, number.to_lowercase(), out);
        }
    }

    /// The directory has told whose number a device redirects to.
    pub(super) fn on_redirection(&mut self, now: Now, waiting: Waiting, account: Option<Account>, out: &mut Vec<Output>) {
        let Waiting::Redirection { waiting, party, number } = waiting else { return };
        let target = match self.decide(&party, &number, account.as_ref()).target {
            Target::Refuse { .. } | Target::Echo | Target::Tone { .. } => None,
            target => Some(target),
        };
        self.with_leg(now, waiting, out, |call, acts| call.on_redirected(target, now, acts));
    }
}

/// Whom a REFER transfers to, and the Replaces that its URI asks for.
fn read_refer_to(refer: &Message) -> Option<(String, Option<String>)> {
    let line = refer.line_named("Refer-To").or_else(|| refer.line_named("r"))?;
    let target = NameAddr::parse(line).ok()?;
    Some((target.uri.user_decoded()?, target.uri.header("Replaces")))
}
