//! MESSAGE (RFC 3428): from a sender who has proven himself to the messages' room, and from there to devices and peers.

use super::beside::Asked;
use super::screen::{Arrived, Sender};
use super::{Engine, Flow, Output, Owner, QueryId};
use crate::base::Now;
use crate::policy::account::Account;
use crate::policy::dialplan::Target;
use crate::signalling::call::Party;
use crate::signalling::message::{Action, Addressee, DeliveryKey, Letter, MessageError};
use crate::wire::sip::{HeaderName, Message, Method, Writer, date, escape_user};

/// Max-Forwards of a message that comes from the store.
const MAX_FORWARDS: u8 = 70;

/// What a message says, or why it cannot be passed on.
fn read(now: Now, request: &Message, from: String) -> Result<Letter, (u16, &'static str)> {
    let plain = request.line(HeaderName::ContentEncoding).is_none_or(|e| e.eq_ignore_ascii_case(b"identity"));
    if !plain {
        return Err((415, "Content-Encoding is not passed on"));
    }
    let content_type = request.line(HeaderName::ContentType).and_then(|line| std::str::from_utf8(line).ok());
    let content_type = content_type.ok_or((400, "Content-Type is missing"))?.to_owned();
    if request.body().is_empty() {
        return Err((400, "A body is expected"));
    }
    // Its own copy: the request's other headers need not be kept with it.
    let body = bytes::Bytes::copy_from_slice(request.body());
    Ok(Letter::new(now, from, content_type, body, request.expires_secs()))
}

impl Engine {
    pub(super) fn on_message(
        &mut self,
        now: Now,
        arrived: Arrived,
        sender: &Sender,
        named: Option<Account>,
        out: &mut Vec<Output>,
    ) {
        let wanted = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()).unwrap_or_default();
        let to = match self.decide(&sender.party, &wanted, named.as_ref()).target {
            Target::Account(name) => Addressee::Account(name),
            Target::Peer { peer, number } => Addressee::Peer { peer, number },
            Target::Refuse { status } => return self.refuse(now, &arrived, status, "", out),
            // A group has no mailbox: who has it, and who has not, could not be told in one answer.
            Target::Group { .. } | Target::Echo | Target::Tone { .. } => {
                return self.refuse(now, &arrived, 404, "Nobody reads there", out);
            }
        };
        let (Party::Account(name) | Party::Peer(name)) = &sender.party;
        let letter = match read(now, &arrived.request, sender.identity.clone()) {
            Ok(letter) => letter,
            Err((status, reason)) => return self.refuse(now, &arrived, status, reason, out),
        };
        match self.beside.messenger.accept(now, name, to, letter) {
            Ok(delivery) => {
                self.beside.senders.insert(delivery, arrived);
            }
            Err(MessageError::TooLarge) => self.refuse(now, &arrived, 413, "", out),
            Err(MessageError::TooManyOfYours | MessageError::Full) => {
                let writer = self.response(&arrived, 503, "Too many messages").header("Retry-After", 10);
                self.finish(now, &arrived, 503, writer.end(), out);
            }
        }
    }

    pub(super) fn carry_letter(&mut self, now: Now, action: Action, out: &mut Vec<Output>) {
        match action {
            Action::Send(delivery) => self.send_letter(now, delivery, out),
            Action::Answer { delivery, status, reason } => {
                if let Some(arrived) = self.beside.senders.remove(&delivery) {
                    self.refuse(now, &arrived, status, reason, out);
                }
            }
            Action::Keep(delivery) => {
                let Some((Addressee::Account(account), letter)) = self.beside.messenger.letter(delivery) else { return };
                let (account, letter) = (account.clone(), Box::new(letter.clone()));
                let query = self.ask_store(Asked::Keep { delivery, account: account.clone() });
                out.push(Output::KeepMessage { query, account, letter });
            }
            Action::Load { account } => {
                let query = self.ask_store(Asked::Deliver { account: account.clone() });
                out.push(Output::LoadMessages { query, account, taken: None });
            }
            Action::Drop { account, id } => {
                let query = self.ask_store(Asked::Deliver { account: account.clone() });
                out.push(Output::LoadMessages { query, account, taken: Some(id) });
            }
        }
    }

    pub(super) fn ask_store(&mut self, asked: Asked) -> QueryId {
        let query = QueryId(self.mint());
        self.beside.asked.insert(query, asked);
        query
    }

    /// To all devices that the addressee has now, each in a transaction of its own.
    fn send_letter(&mut self, now: Now, delivery: DeliveryKey, out: &mut Vec<Output>) {
        let Some((to, letter)) = self.beside.messenger.letter(delivery) else { return };
        let (to, letter) = (to.clone(), letter.clone());
        let ways = self.ways_to(&to);
        self.beside.messenger.sent(now, delivery, ways.len());
        let hops = self.beside.senders.get(&delivery).map(|arrived| arrived.request.max_forwards().ok().flatten());
        let hops = hops.flatten().unwrap_or(MAX_FORWARDS + 1).saturating_sub(1);
        let to = match &to {
            Addressee::Account(name) => format!("<sip:{}@{}>", escape_user(name), self.config.domain),
            Addressee::Peer { number, .. } => format!("<sip:{}@{}>", escape_user(number), self.config.domain),
        };
        for (flow, uri) in ways {
            let (branch, via) = self.via(flow);
            let (tag, call_id) = (self.rng.token(22), self.rng.token(22));
            let bytes = Writer::request(Method::Message, &uri)
                .header("Via", via)
                .header("Max-Forwards", hops)
                .header("From", format_args!("{};tag={tag}", letter.from))
                .header("To", &to)
                .header("Call-ID", call_id)
                .header("CSeq", "1 MESSAGE")
                .header("Date", date(letter.received_unix_ms / 1_000))
                .body(&letter.content_type, &letter.body);
            let mut sent = Vec::new();
            let owner = Owner::Letter(delivery);
            let client =
                self.transactions.send_request(now.mono, Method::Message, &branch, flow, bytes.into(), owner, None, &mut sent);
            self.transmit(now, sent, out);
            if client.is_none() {
                self.beside.messenger.on_response(now, delivery, 503);
            }
        }
    }

    fn ways_to(&self, to: &Addressee) -> Vec<(Flow, String)> {
        let target = match to {
            Addressee::Account(name) => Target::Account(name.clone()),
            Addressee::Peer { peer, number } => Target::Peer { peer: peer.clone(), number: number.clone() },
        };
        self.destinations(&target).into_iter().map(|to| (to.flow, to.uri)).collect()
    }
}
