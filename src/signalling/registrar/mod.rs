//! The registrar (RFC 3261 section 10.3, RFC 5626): where an account can be reached now.
//!
//! It owns bindings and their expiry; who may register what has been settled before it is asked. A binding over a
//! WebSocket lives no longer than its flow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::base::{DeadlineKey, Deadlines};
use crate::signalling::flow::Flow;
use crate::wire::sip::{HeaderName, Message, NameAddr};

/// The organisation's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrarLimits {
    /// Shorter requests get 423.
    pub min_expires_secs: u32,
    /// Longer requests get this.
    pub max_expires_secs: u32,
    /// What a request that names no time gets.
    pub default_expires_secs: u32,
    /// More bindings than this push out the one that was refreshed longest ago.
    pub max_bindings: usize,
}

/// One way to reach an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The Contact's URI, as it was sent; the Request-URI of what is sent to it.
    pub contact: String,
    /// `+sip.instance`, with its quotes (RFC 5626 section 4.1).
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626 section 4.2).
    pub reg_id: Option<u32>,
    /// Where its REGISTER came from, and where requests go.
    pub flow: Flow,
    /// Whether the client said that it supports outbound.
    call_id: String,
    cseq: u32,
    expires: DeadlineKey,
    expires_at: Instant,
    refreshed: u64,
}

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterError {
    /// A Contact that is no URI we can send to, or `*` among others or without `Expires: 0`: 400.
    BadContact,
    /// Too short: 423 with Min-Expires.
    TooBrief {
        /// What is the least.
        min_expires_secs: u32,
    },
    /// An older request than one of the same Call-ID that has been carried out: 500.
    OutOfOrder,
}

/// One Contact of a REGISTER, read.
struct Wanted {
    contact: String,
    instance: Option<String>,
    reg_id: Option<u32>,
    expires_secs: u32,
}

/// All bindings of all accounts.
pub struct Registrar {
    limits: RegistrarLimits,
    bindings: BTreeMap<String, Vec<Binding>>,
    /// Which accounts have a binding over a flow: an ATA has one for each of its lines.
    by_flow: BTreeMap<Flow, BTreeSet<String>>,
    deadlines: Deadlines<(String, Flow)>,
    refreshes: u64,
    /// Accounts that got their first binding or lost their last one since somebody asked.
    changed: BTreeSet<String>,
}

impl Registrar {
    /// An empty registrar.
    #[must_use]
    pub fn new(limits: RegistrarLimits) -> Self {
        Self {
            limits,
            bindings: BTreeMap::new(),
            by_flow: BTreeMap::new(),
            deadlines: Deadlines::default(),
            refreshes: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Carries a REGISTER for `account` out, all of it or nothing. Gives the Contact values of the 200.
    ///
    /// # Errors
    /// See [`RegisterError`]; nothing was changed.
    pub fn register(&mut self, now: Instant, account: &str, request: &Message, flow: Flow) -> Result<Vec<String>, RegisterError> {
        let call_id = request.call_id().map_err(|_| RegisterError::BadContact)?.to_owned();
        let cseq = request.cseq().map_err(|_| RegisterError::BadContact)?.number;
        let existing = self.bindings.get(account).map(Vec::as_slice).unwrap_or_default();
        let contacts: Vec<&[u8]> =
            request.values(HeaderName::Contact).collect::<Result<_, _>>().map_err(|_| RegisterError::BadContact)?;
        if contacts.iter().any(|c| *c == b"*") {
            if contacts.len() != 1 || request.expires_secs() != Some(0) {
                return Err(RegisterError::BadContact);
            }
            if existing.iter().any(|b| b.call_id == call_id && b.cseq >= cseq) {
                return Err(RegisterError::OutOfOrder);
            }
            self.remove_where(account, |_| true);
            return Ok(Vec::new());
        }
        let wanted = contacts.iter().map(|c| self.read_contact(c, request)).collect::<Result<Vec<_>, _>>()?;
        for want in &wanted {
            let old = existing.iter().find(|b| is_same(b, want));
            if old.is_some_and(|b| b.call_id == call_id && b.cseq >= cseq) {
                return Err(RegisterError::OutOfOrder);
            }
        }
        for want in wanted {
            self.remove_where(account, |b| is_same(b, &want));
            if want.expires_secs > 0 {
                self.add(now, account, want, flow, &call_id, cseq);
            }
        }
        Ok(self.contact_values(now, account))
    }

    fn read_contact(&self, contact: &[u8], request: &Message) -> Result<Wanted, RegisterError> {
        let contact = NameAddr::parse(contact).map_err(|_| RegisterError::BadContact)?;
        if contact.uri.host.is_none() {
            return Err(RegisterError::BadContact);
        }
        let asked = match contact.params.value("expires") {
            // A broken number means the default (RFC 3261 section 10.2.1.1); one too large means the most.
            Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).unwrap_or(u32::MAX)
            }
            Some(_) => self.limits.default_expires_secs,
            None => request.expires_secs().unwrap_or(self.limits.default_expires_secs),
        };
        if asked > 0 && asked < self.limits.min_expires_secs {
            return Err(RegisterError::TooBrief { min_expires_secs: self.limits.min_expires_secs });
        }
        Ok(Wanted {
            contact: contact.uri.text.to_owned(),
            instance: contact.params.text("+sip.instance").map(str::to_owned),
            reg_id: contact.params.text("reg-id").and_then(|id| id.parse().ok()),
            expires_secs: asked.min(self.limits.max_expires_secs),
        })
    }

    fn add(&mut self, now: Instant, account: &str, want: Wanted, flow: Flow, call_id: &str, cseq: u32) {
        let expires_at = now + Duration::from_secs(u64::from(want.expires_secs));
        let list = self.bindings.get(account).map(Vec::as_slice).unwrap_or_default();
        let oldest = list.iter().map(|b| b.refreshed).min().filter(|_| list.len() >= self.limits.max_bindings);
        if let Some(oldest) = oldest {
            self.remove_where(account, |b| b.refreshed == oldest);
        }
        self.refreshes += 1;
        if !self.bindings.contains_key(account) {
            self.changed.insert(account.to_owned());
        }
        self.by_flow.entry(flow).or_default().insert(account.to_owned());
        self.bindings.entry(account.to_owned()).or_default().push(Binding {
            contact: want.contact,
            instance: want.instance,
            reg_id: want.reg_id,
            flow,
            call_id: call_id.to_owned(),
            cseq,
            expires: self.deadlines.arm(expires_at, (account.to_owned(), flow), "binding expires"),
            expires_at,
            refreshed: self.refreshes,
        });
    }

    fn remove_where(&mut self, account: &str, gone: impl Fn(&Binding) -> bool) {
        let Some(list) = self.bindings.get_mut(account) else { return };
        let removed: Vec<Binding> = list.extract_if(.., |binding| gone(binding)).collect();
        for binding in removed {
            self.deadlines.disarm(binding.expires);
            if !list.iter().any(|b| b.flow == binding.flow)
                && let Some(accounts) = self.by_flow.get_mut(&binding.flow)
            {
                accounts.remove(account);
                if accounts.is_empty() {
                    self.by_flow.remove(&binding.flow);
                }
            }
        }
        if list.is_empty() {
            self.bindings.remove(account);
            self.changed.insert(account.to_owned());
        }
    }

    /// The accounts that may have become reachable, or unreachable, since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// The bindings of an account, the one refreshed last first.
    #[must_use]
    pub fn bindings(&self, account: &str) -> Vec<&Binding> {
        let mut list: Vec<&Binding> = self.bindings.get(account).into_iter().flatten().collect();
        list.sort_by_key(|b| std::cmp::Reverse(b.refreshed));
        list
    }

    /// What a 200 says of them: URI, seconds left, and `+sip.instance` and `reg-id` as they were sent.
    #[must_use]
    pub fn contact_values(&self, now: Instant, account: &str) -> Vec<String> {
        self.bindings(account)
            .into_iter()
            .map(|b| {
                let left = b.expires_at.saturating_duration_since(now).as_secs_f64().ceil();
                let mut value = format!("<{}>;expires={left:.0}", b.contact);
                for (name, text) in [("+sip.instance", b.instance.clone()), ("reg-id", b.reg_id.map(|id| id.to_string()))] {
                    if let Some(text) = text {
                        write!(value, ";{name}={text}").expect("writing to memory does not fail");
                    }
                }
                value
            })
            .collect()
    }

    /// A flow is gone, and all bindings over it.
    pub fn flow_closed(&mut self, flow: Flow) {
        let accounts = self.by_flow.get(&flow).cloned().unwrap_or_default();
        for account in accounts {
            self.remove_where(&account, |b| b.flow == flow);
        }
    }

    /// The device that an account has at the other end of a flow.
    #[must_use]
    pub fn instance_of(&self, account: &str, flow: Flow) -> Option<String> {
        let list = self.bindings.get(account)?;
        list.iter().find(|binding| binding.flow == flow).and_then(|binding| binding.instance.clone())
    }

    /// The account that registered over this flow; none when nobody did, or several (an ATA's lines).
    #[must_use]
    pub fn account_of(&self, flow: Flow) -> Option<&str> {
        let accounts = self.by_flow.get(&flow)?;
        accounts.first().filter(|_| accounts.len() == 1).map(String::as_str)
    }

    /// The earliest expiry.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next()
    }

    /// Drops what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((account, _)) = self.deadlines.pop_due(now) {
            self.remove_where(&account, |b| b.expires_at <= now);
        }
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }
}

/// RFC 5626 section 6: an instance and reg-id name a binding whatever its Contact says; else the URI does.
fn is_same(binding: &Binding, want: &Wanted) -> bool {
    match (&binding.instance, &want.instance) {
        (Some(old), Some(new)) if want.reg_id.is_some() => old == new && binding.reg_id == want.reg_id,
        _ => binding.contact == want.contact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::Framing;

    const LIMITS: RegistrarLimits =
        RegistrarLimits { min_expires_secs: 60, max_expires_secs: 3_600, default_expires_secs: 600, max_bindings: 2 };

    fn flow(port: u16) -> Flow {
        Flow::Udp { local: "127.0.0.1:5060".parse().expect("address"), remote: ([127, 0, 0, 2], port).into() }
    }

    fn request(cseq: u32, lines: &str) -> Message {
        let text = format!(
            "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{cseq}\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:a@example.org>\r\nCall-ID: c\r\nCSeq: {cseq} REGISTER\r\n{lines}\r\n"
        );
        Message::parse(text.into_bytes().into(), Framing::Datagram).expect("a request")
    }

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn echoes_instance_and_reg_id_and_replaces_by_them() {
        let (mut registrar, now) = (Registrar::new(LIMITS), start());
        let contact = |uri: &str| format!("Contact: <sip:{uri}>;reg-id=1;+sip.instance=\"<urn:uuid:7>\";expires=300\r\n");
        let values = registrar.register(now, "a", &request(1, &contact("x@y.invalid;transport=ws")), flow(1)).expect("registers");
        assert_eq!(values, ["<sip:x@y.invalid;transport=ws>;expires=300;+sip.instance=\"<urn:uuid:7>\";reg-id=1"]);
        registrar.register(now, "a", &request(2, &contact("z@new.invalid")), flow(2)).expect("registers again");
        assert_eq!(registrar.bindings("a").len(), 1, "the same instance and reg-id is one binding");
        assert_eq!(registrar.bindings("a")[0].flow, flow(2));
    }

    #[test]
    fn expires_and_removes_all_by_star() {
        let (mut registrar, now) = (Registrar::new(LIMITS), start());
        registrar.register(now, "a", &request(1, "Contact: <sip:a@1.2.3.4>\r\nExpires: 60\r\n"), flow(1)).expect("registers");
        registrar.handle_timeout(now + Duration::from_secs(59));
        assert_eq!(registrar.len(), 1);
        registrar.handle_timeout(now + Duration::from_secs(60));
        assert!(registrar.is_empty() && registrar.poll_timeout().is_none());
        registrar
            .register(now, "a", &request(2, "Contact: <sip:a@1.2.3.4>, <sip:a@1.2.3.5>\r\n"), flow(1))
            .expect("registers two");
        assert_eq!(registrar.register(now, "a", &request(3, "Contact: *\r\n"), flow(1)), Err(RegisterError::BadContact));
        assert_eq!(registrar.register(now, "a", &request(4, "Contact: *\r\nExpires: 0\r\n"), flow(1)), Ok(vec![]));
        assert!(registrar.is_empty() && registrar.poll_timeout().is_none());
    }

    #[test]
    fn refuses_brief_and_reordered_requests() {
        let (mut registrar, now) = (Registrar::new(LIMITS), start());
        let brief = registrar.register(now, "a", &request(5, "Contact: <sip:a@1.2.3.4>;expires=5\r\n"), flow(1));
        assert_eq!(brief, Err(RegisterError::TooBrief { min_expires_secs: 60 }));
        registrar.register(now, "a", &request(6, "Contact: <sip:a@1.2.3.4>\r\n"), flow(1)).expect("registers");
        let late = registrar.register(now, "a", &request(4, "Contact: <sip:a@1.2.3.4>;expires=0\r\n"), flow(1));
        assert_eq!(late, Err(RegisterError::OutOfOrder));
        assert_eq!(registrar.len(), 1);
    }

    #[test]
    fn a_binding_over_the_limit_pushes_out_the_oldest_and_a_flow_takes_its_bindings_along() {
        let (mut registrar, now) = (Registrar::new(LIMITS), start());
        for n in 1..=3 {
            registrar
                .register(now, "a", &request(n, &format!("Contact: <sip:a@1.2.3.{n}>\r\n")), flow(n as u16))
                .expect("registers");
        }
        let contacts: Vec<_> = registrar.bindings("a").iter().map(|b| b.contact.clone()).collect();
        assert_eq!(contacts, ["sip:a@1.2.3.3", "sip:a@1.2.3.2"]);
        assert_eq!((registrar.account_of(flow(3)), registrar.account_of(flow(1))), (Some("a"), None));
        assert_eq!(registrar.take_changed().into_iter().collect::<Vec<_>>(), ["a"]);
        registrar.flow_closed(flow(3));
        assert_eq!((registrar.len(), registrar.account_of(flow(3))), (1, None));
        assert!(registrar.take_changed().is_empty(), "one is left");
        registrar.flow_closed(flow(2));
        assert_eq!(registrar.take_changed().into_iter().collect::<Vec<_>>(), ["a"]);
    }
}
