//! What a peer does beside its calls: it writes, watches, publishes, and hears MESSAGE and NOTIFY.

use std::time::{Duration, Instant};

use ringway::wire::sip::{HeaderName, Message, Method};

use super::{GIVE_UP, Peer, T1};

/// A request of its own, and what came of it.
pub struct Ask {
    method: &'static str,
    user: String,
    lines: String,
    body: Vec<u8>,
    call_id: String,
    /// From the first 2xx on: the subscription's dialog.
    to_tag: Option<String>,
    cseq: u32,
    branch: String,
    authorization: Option<String>,
    /// Nothing is sent again once it is answered.
    retransmit: Option<(Vec<u8>, Instant, Duration, Instant)>,
    /// The final response: none yet, or never.
    pub response: Option<Message>,
}

impl Ask {
    pub fn status(&self) -> u16 {
        self.response.as_ref().and_then(Message::status).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> String {
        let line = self.response.as_ref().and_then(|response| response.line_named(name));
        String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
    }
}

impl Peer {
    /// Sends a request to `user`, with credentials once it is challenged. Its outcome is in `asks`, at the place given.
    pub fn ask(&mut self, now: Instant, method: &'static str, user: &str, lines: &str, body: &[u8]) -> usize {
        self.now = now;
        self.asks.push(Ask {
            method,
            user: user.to_owned(),
            lines: lines.to_owned(),
            body: body.to_vec(),
            call_id: format!("ask-{}-{}", self.name, self.asks.len()),
            to_tag: None,
            cseq: 0,
            branch: String::new(),
            authorization: None,
            retransmit: None,
            response: None,
        });
        self.send_ask(self.asks.len() - 1);
        self.asks.len() - 1
    }

    /// The same once more, within the dialog that it made.
    pub fn ask_again(&mut self, now: Instant, at: usize, lines: &str) {
        self.now = now;
        let ask = &mut self.asks[at];
        ask.lines = lines.to_owned();
        (ask.response, ask.authorization) = (None, None);
        self.send_ask(at);
    }

    fn send_ask(&mut self, at: usize) {
        let branch = self.branch();
        let (via, contact, name) = (self.via(&branch), self.contact(), self.name.clone());
        let ask = &mut self.asks[at];
        ask.cseq += 1;
        ask.branch = branch;
        let Ask { method, user, lines, call_id, cseq, .. } = ask;
        let tag = ask.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let authorization = ask.authorization.as_ref().map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} sip:{user}@sim.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@sim.test>;tag=a{name}\r\nTo: <sip:{user}@sim.test>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: {contact}\r\n{authorization}{lines}Content-Length: {}\r\n\r\n",
            ask.body.len()
        );
        let bytes = [head.as_bytes(), &ask.body].concat();
        ask.retransmit = (!self.websocket).then(|| (bytes.clone(), self.now + T1, T1, self.now + GIVE_UP));
        self.send(bytes);
    }

    pub(super) fn on_ask_response(&mut self, response: &Message, branch: &str) -> bool {
        let Some(at) = self.asks.iter().position(|ask| ask.branch == branch && ask.response.is_none()) else {
            return self.asks.iter().any(|ask| ask.branch == branch);
        };
        let status = response.status().expect("a response");
        if status < 200 {
            return true;
        }
        if status == 401 && self.asks[at].authorization.is_none() && !self.stubborn {
            let (method, user) = (self.asks[at].method, self.asks[at].user.clone());
            let authorization = self.authorize(response, method, &format!("sip:{user}@sim.test"));
            self.asks[at].authorization = Some(authorization);
            self.send_ask(at);
            return true;
        }
        let ask = &mut self.asks[at];
        ask.retransmit = None;
        ask.response = Some(response.clone());
        if status < 300 && ask.method == "SUBSCRIBE" {
            ask.to_tag = response.to().expect("To").tag().map(str::to_owned);
        }
        true
    }

    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.asks.iter().filter_map(|ask| ask.retransmit.as_ref().map(|(_, at, ..)| *at)).min()
    }

    pub(super) fn on_ask_timeout(&mut self, now: Instant) {
        let mut again = Vec::new();
        for ask in &mut self.asks {
            let Some((bytes, at, interval, until)) = &mut ask.retransmit else { continue };
            if *at > now {
                continue;
            }
            if now >= *until {
                ask.retransmit = None;
                continue;
            }
            again.push(bytes.clone());
            *interval = (*interval * 2).min(Duration::from_secs(4));
            *at = now + *interval;
        }
        self.out.extend(again);
    }

    /// A MESSAGE or NOTIFY that was not heard before.
    pub(super) fn on_beside(&mut self, request: &Message, key: (String, Method)) {
        let response = self.respond(request, self.answers_with, "", None);
        self.heard.push(request.clone());
        self.answer(key, response);
    }

    /// What it has heard of this method: each body as text.
    pub fn bodies(&self, method: &str) -> Vec<String> {
        let heard = self.heard.iter().filter(|m| m.method_text() == Some(method.as_bytes()));
        heard.map(|m| String::from_utf8_lossy(m.body()).into_owned()).collect()
    }

    /// A header of each NOTIFY that it has heard.
    pub fn heard_header(&self, name: &str) -> Vec<String> {
        let lines = self.heard.iter().map(|m| m.line_named(name).unwrap_or_default());
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// The Call-IDs of all that it has heard.
    pub fn call_ids(&self) -> Vec<String> {
        let lines = self.heard.iter().map(|m| m.line(HeaderName::CallId).unwrap_or_default());
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}
