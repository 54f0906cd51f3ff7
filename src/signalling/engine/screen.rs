//! New requests: what every one of them must pass (RFC 3261 section 8.2), and who may go on (section 22).

use std::net::SocketAddr;

use super::{Engine, Output, Peer, QueryId, Unavailable};
use crate::base::Now;
use crate::plan::LegId;
use crate::policy::account::Account;
use crate::signalling::auth::Claim;
use crate::signalling::call::Party;
use crate::signalling::call::session_timer::{self, Asked};
use crate::signalling::flow::Flow;
use crate::signalling::notifier::ALLOW_EVENTS;
use crate::signalling::registrar::RegisterError;
use crate::signalling::transaction::{ServerId, Transmit};
use crate::wire::sip::digest::{Algorithm, Credentials};
use crate::wire::sip::{HeaderName, Message, Method, NameAddr, Scheme, Writer, response_to};

/// What the gateway answers to; also what 405 and 501 say.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE, PRACK, INFO, REFER, NOTIFY, SUBSCRIBE, PUBLISH, MESSAGE";
/// Extensions that may be required of us: RFC 5626's is the registrar's.
const SUPPORTED: [&str; 5] = ["outbound", "timer", "100rel", "replaces", "norefersub"];

/// A request with a transaction, not yet answered.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) request: Message,
    pub(super) server: ServerId,
    pub(super) flow: Flow,
    pub(super) source: SocketAddr,
}

/// Who has turned out to send a request.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) party: Party,
    /// How others see it: a `name-addr` without parameters.
    pub(super) identity: String,
}

/// What waits for the directory, and what for.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A request, for the account that it claims to come from.
    Proof { arrived: Arrived, credentials: Box<Credentials>, algorithm: Algorithm },
    /// An INVITE, for the account that it dials.
    Callee { arrived: Arrived, sender: Sender },
    /// A MESSAGE, SUBSCRIBE or PUBLISH, for the account that it names.
    Beside { arrived: Arrived, sender: Sender },
    /// A REFER, for the account that it transfers to.
    Target { arrived: Arrived, by: LegId, number: String },
    /// A call that rings, for the account that a device of `party` redirects it to.
    Redirection { waiting: LegId, party: Party, number: String },
}

impl Waiting {
    /// The request that waits, if it is one.
    pub(super) fn arrived(&self) -> Option<&Arrived> {
        match self {
            Self::Proof { arrived, .. }
            | Self::Callee { arrived, .. }
            | Self::Beside { arrived, .. }
            | Self::Target { arrived, .. } => Some(arrived),
            Self::Redirection { .. } => None,
        }
    }
}

impl Engine {
    /// What a request outside of any dialog brings along as proof of who sends it; none where none is needed: from a trusted
    /// peer, and for what belongs to a transaction or dialog that has been proven. A SUBSCRIBE or PUBLISH is an account's
    /// wherever it comes from, and a SUBSCRIBE proves it within its dialog too: NOTIFYs go where it came from.
    pub(super) fn claim(&self, now: Now, method: Method, flow: Flow, request: &Message) -> Option<Claim> {
        let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
        let needs_proof = match method {
            Method::Subscribe => true,
            Method::Register | Method::Publish => !in_dialog,
            Method::Ack | Method::Cancel | Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => false,
            _ => !in_dialog && self.trusted_peer(flow).is_none(),
        };
        if !needs_proof {
            return None;
        }
        let lines = request.lines(HeaderName::Authorization).chain(request.lines(HeaderName::ProxyAuthorization));
        Some(self.authenticator.read(now, lines))
    }

    fn trusted_peer(&self, flow: Flow) -> Option<&Peer> {
        let Flow::Udp { remote, .. } = flow else { return None };
        self.config.peer_at(remote).filter(|peer| peer.trusted)
    }

    pub(super) fn on_new_request(
        &mut self,
        now: Now,
        method: Method,
        arrived: Arrived,
        screened: Result<(), Refusal>,
        claim: Option<Claim>,
        out: &mut Vec<Output>,
    ) {
        if method == Method::Cancel {
            return self.on_cancel(now, &arrived, out);
        }
        if let Err((status, headers)) = screened {
            let writer = self.response(&arrived, status, "");
            let writer = headers.into_iter().fold(writer, |w, (name, value)| w.header(name, value));
            return self.finish(now, &arrived, status, writer.end(), out);
        }
        if claim.is_none() && arrived.request.to().is_ok_and(|to| to.tag().is_some()) {
            return self.on_dialog_request(now, method, arrived, out);
        }
        match method {
            // These live in a dialog alone.
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => {
                self.refuse(now, &arrived, 481, "", out);
            }
            _ => self.authenticate(now, method, arrived, claim, out),
        }
    }

    fn authenticate(&mut self, now: Now, method: Method, arrived: Arrived, claim: Option<Claim>, out: &mut Vec<Output>) {
        if let Some(Claim::Check(credentials, algorithm)) = claim {
            let name = credentials.username.to_ascii_lowercase();
            return self.ask(Waiting::Proof { arrived, credentials, algorithm }, name, out);
        }
        match self.trusted_peer(arrived.flow).map(|peer| peer.name.clone()) {
            Some(peer) => {
                let identity = self.identity_of_peer(&peer, &arrived.request);
                self.on_proven(now, method, arrived, Sender { party: Party::Peer(peer), identity }, out);
            }
            None => self.challenge(now, &arrived, out),
        }
    }

    /// A request outside of any dialog, from one who is who it says it is.
    fn on_proven(&mut self, now: Now, method: Method, arrived: Arrived, sender: Sender, out: &mut Vec<Output>) {
        match method {
            Method::Invite => self.look_up_callee(now, arrived, sender, out),
            Method::Options => {
                let writer = self
                    .response(&arrived, 200, "")
                    .header("Allow", ALLOW)
                    .header("Allow-Events", ALLOW_EVENTS)
                    .header("Accept", "application/sdp, application/pidf+xml, text/plain");
                self.finish(now, &arrived, 200, writer.end(), out);
            }
            Method::Message | Method::Subscribe | Method::Publish => self.look_up_beside(now, arrived, sender, out),
            _ => {
                let writer = self.response(&arrived, 405, "").header("Allow", ALLOW);
                self.finish(now, &arrived, 405, writer.end(), out);
            }
        }
    }

    fn challenges(&mut self, now: Now, flow: Flow, stale: bool) -> Vec<String> {
        let algorithms = self.profile_of(flow).digest.clone();
        self.authenticator.challenges(now, &mut self.rng, &algorithms, stale)
    }

    /// Answers a wrong proof.
    fn challenge(&mut self, now: Now, arrived: &Arrived, out: &mut Vec<Output>) {
        let challenges = self.challenges(now, arrived.flow, false);
        let writer = self.response(arrived, 401, "").headers("WWW-Authenticate", challenges);
        self.finish(now, arrived, 401, writer.end(), out);
    }

    pub(super) fn challenge_stateless(
        &mut self,
        now: Now,
        flow: Flow,
        source: SocketAddr,
        request: &Message,
        stale: bool,
        out: &mut Vec<Output>,
    ) {
        let challenges = self.challenges(now, flow, stale);
        let tag = self.rng.token(22);
        let bytes = response_to(request, 401, "", Some(&tag), source).headers("WWW-Authenticate", challenges).end();
        let flow = self.reply_flow(flow, request);
        self.transmit(now, vec![Transmit { flow, bytes: bytes.into(), call: None }], out);
    }

    pub(super) fn ask(&mut self, waiting: Waiting, name_or_number: String, out: &mut Vec<Output>) {
        let query = QueryId(self.mint());
        self.waiting.insert(query, waiting);
        out.push(Output::Query { query, name_or_number });
    }

    pub(super) fn on_account(
        &mut self,
        now: Now,
        query: QueryId,
        account: Result<Option<Account>, Unavailable>,
        out: &mut Vec<Output>,
    ) {
        // Cancelled, or its flow closed, in the meantime.
        let Some(waiting) = self.waiting.remove(&query) else { return };
        let Ok(account) = account else {
            return match waiting.arrived() {
                Some(arrived) => self.refuse(now, arrived, 503, "Directory not available", out),
                None => self.on_redirection(now, waiting, None, out),
            };
        };
        match waiting {
            Waiting::Proof { arrived, credentials, algorithm } => {
                let method = arrived.request.method().expect("only requests wait");
                let proven = self.authenticator.verify(now, &credentials, algorithm, method.as_str(), account.as_ref());
                match account.filter(|_| proven) {
                    None => self.challenge(now, &arrived, out),
                    Some(account) if method == Method::Register => self.register(now, &arrived, &account, out),
                    Some(account) => {
                        let identity = self.identity_of_account(&account);
                        let sender = Sender { party: Party::Account(account.name), identity };
                        self.on_proven(now, method, arrived, sender, out);
                    }
                }
            }
            Waiting::Callee { arrived, sender } => self.route(now, arrived, sender, account, out),
            Waiting::Beside { arrived, sender } => self.on_beside(now, arrived, &sender, account, out),
            Waiting::Target { arrived, by, number } => self.on_target(now, &arrived, by, &number, account, out),
            waiting @ Waiting::Redirection { .. } => self.on_redirection(now, waiting, account, out),
        }
    }

    fn register(&mut self, now: Now, arrived: &Arrived, account: &Account, out: &mut Vec<Output>) {
        let request = &arrived.request;
        let to = request.to().expect("checked");
        // RFC 3261 section 10.3, step 5: the AOR must be one of ours, and, step 3, the account's own.
        let names_account = to
            .uri
            .user_decoded()
            .is_some_and(|user| user.eq_ignore_ascii_case(&account.name) || Some(&user) == account.number.as_ref());
        if !names_account {
            return self.refuse(now, arrived, 403, "Not your address", out);
        }
        match self.registrar.register(now.mono, &account.name, request, arrived.flow) {
            Ok(contacts) => {
                let outbound =
                    request.lists(HeaderName::Supported, "outbound") && contacts.iter().any(|c| c.contains(";reg-id="));
                let mut writer =
                    self.response(arrived, 200, "").headers("Contact", contacts).header("Supported", "outbound, path");
                if outbound {
                    writer = writer.header("Require", "outbound");
                }
                self.finish(now, arrived, 200, writer.end(), out);
                self.on_registered(now, &account.name, arrived.flow, out);
            }
            Err(RegisterError::BadContact) => self.refuse(now, arrived, 400, "Contact cannot be used", out),
            Err(RegisterError::OutOfOrder) => self.refuse(now, arrived, 500, "CSeq is out of order", out),
            Err(RegisterError::TooBrief { min_expires_secs }) => {
                let writer = self.response(arrived, 423, "").header("Min-Expires", min_expires_secs);
                self.finish(now, arrived, 423, writer.end(), out);
            }
        }
    }

    fn on_cancel(&mut self, now: Now, arrived: &Arrived, out: &mut Vec<Output>) {
        let Some(invite) = self.transactions.invite_of(&arrived.request) else {
            return self.refuse(now, arrived, 481, "", out);
        };
        let writer = self.response(arrived, 200, "");
        self.finish(now, arrived, 200, writer.end(), out);
        let is_it = |w: &Waiting| w.arrived().is_some_and(|arrived| arrived.server == invite);
        let waiting = self.waiting.iter().find(|(_, w)| is_it(w)).map(|(query, _)| *query);
        if let Some(waiting) = waiting.and_then(|query| self.waiting.remove(&query)) {
            let invite = waiting.arrived().expect("found by its request");
            return self.refuse(now, invite, 487, "", out);
        }
        if let Some(leg) = self.by_invite.get(&invite).copied() {
            self.with_leg(now, leg, out, |call, acts| call.on_cancel(leg, now, acts));
        }
    }

    /// A response with a tag of ours in To, ready for more headers.
    pub(super) fn response(&mut self, arrived: &Arrived, status: u16, reason: &str) -> Writer {
        let tag = self.rng.token(22);
        response_to(&arrived.request, status, reason, Some(&tag), arrived.source)
    }

    pub(super) fn refuse(&mut self, now: Now, arrived: &Arrived, status: u16, reason: &str, out: &mut Vec<Output>) {
        let writer = self.response(arrived, status, reason);
        self.finish(now, arrived, status, writer.end(), out);
    }

    pub(super) fn finish(&mut self, now: Now, arrived: &Arrived, status: u16, bytes: Vec<u8>, out: &mut Vec<Output>) {
        let mut sent = Vec::new();
        if let Some(call) = &self.in_hand {
            self.transactions.belongs_to(arrived.server, call.clone());
        }
        self.transactions.respond(now.mono, arrived.server, status, bytes.into(), &mut sent);
        self.transmit(now, sent, out);
    }
}

/// A status, and the headers that go with it.
pub(super) type Refusal = (u16, Vec<(&'static str, String)>);

/// RFC 3261 section 8.2, in its order.
pub(super) fn screen(request: &Message, method: Method) -> Result<(), Refusal> {
    if method == Method::Other {
        return Err((501, vec![("Allow", ALLOW.to_owned())]));
    }
    if request.max_forwards() == Ok(Some(0)) {
        return Err((483, vec![]));
    }
    let scheme = request.request_uri().map(|uri| uri.scheme);
    if scheme == Ok(Scheme::Other) || (scheme == Ok(Scheme::Tel) && method != Method::Invite) {
        return Err((416, vec![]));
    }
    // What no registrar can bind (RFC 4475 section 3.3.4) is told before anybody is asked who he is.
    let names_sip = |to: NameAddr<'_>| matches!(to.uri.scheme, Scheme::Sip | Scheme::Sips);
    if method == Method::Register && !request.to().is_ok_and(names_sip) {
        return Err((400, vec![]));
    }
    let required = request.values(HeaderName::Require).chain(request.values(HeaderName::ProxyRequire)).flatten();
    let unknown: Vec<String> = required
        .filter(|tag| !SUPPORTED.iter().any(|s| tag.eq_ignore_ascii_case(s.as_bytes())))
        .map(|tag| String::from_utf8_lossy(tag).into_owned())
        .collect();
    if !unknown.is_empty() {
        return Err((420, vec![("Unsupported", unknown.join(", "))]));
    }
    let may_set_timer = matches!(method, Method::Invite | Method::Update);
    if may_set_timer && session_timer::asked(request) == Asked::TooSmall {
        return Err((422, vec![("Min-SE", session_timer::MIN_SE_SECS.to_string())]));
    }
    screen_body(request, method)
}

fn screen_body(request: &Message, method: Method) -> Result<(), Refusal> {
    if !matches!(method, Method::Invite | Method::Update) {
        return Ok(());
    }
    let accepts = request
        .values(HeaderName::Accept)
        .flatten()
        .map(|v| v.split(|&b| b == b';').next().unwrap_or_default().to_ascii_lowercase());
    let accepts: Vec<Vec<u8>> = accepts.collect();
    let takes_sdp =
        accepts.is_empty() || accepts.iter().any(|a| matches!(a.trim_ascii(), b"application/sdp" | b"application/*" | b"*/*"));
    if !takes_sdp {
        return Err((406, vec![]));
    }
    let plain = request.line(HeaderName::ContentEncoding).is_none_or(|e| e.eq_ignore_ascii_case(b"identity"));
    let is_sdp = request.body().is_empty() || request.content_type().is_some_and(|t| t.eq_ignore_ascii_case(b"application/sdp"));
    if !is_sdp || !plain {
        return Err((415, vec![("Accept", "application/sdp".to_owned())]));
    }
    Ok(())
}
