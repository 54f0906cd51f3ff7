//! Dialogs (RFC 3261 section 12): who the two ends are to each other, and the numbers that keep their requests in order.
//!
//! A dialog is plain data. It knows neither transactions nor calls nor flows: the engine sends what it writes.

use crate::wire::sip::{HeaderName, Malformed, Message, Method, NameAddr, Uri, Writer};

/// One dialog, as its local end sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Theirs; none until a response to our INVITE has named it.
    pub remote_tag: Option<String>,
    /// Our From (or To): `"Name" <uri>` without tag.
    local: String,
    /// Theirs.
    remote: String,
    /// Where requests of ours go: the URI of their Contact.
    pub remote_target: String,
    /// Routes in the order in which our requests carry them.
    pub route_set: Vec<String>,
    /// The CSeq number of our last request.
    pub local_seq: u32,
    /// Theirs.
    remote_seq: Option<u32>,
}

/// Why a request does not fit its dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogError {
    /// Another Call-ID or tag: answered 481.
    NotThisDialog,
    /// A CSeq lower than one seen already: answered 500 (section 12.2.2).
    OutOfOrder,
}

impl Dialog {
    /// The dialog that an INVITE to us makes (section 12.1.1).
    ///
    /// # Errors
    /// When From, To, Contact, Call-ID or CSeq do not parse, or there is no Contact.
    pub fn from_invite(invite: &Message, local_tag: String) -> Result<Self, Malformed> {
        let (from, to) = (invite.from()?, invite.to()?);
        Ok(Self {
            call_id: invite.call_id()?.to_owned(),
            local_tag,
            remote_tag: from.tag().map(str::to_owned),
            local: without_tag(&to),
            remote: without_tag(&from),
            remote_target: invite.contact()?.uri.text.to_owned(),
            route_set: record_routes(invite),
            local_seq: 0,
            remote_seq: Some(invite.cseq()?.number),
        })
    }

    /// The dialog that an INVITE of ours will make: `local` and `remote` are From and To without tags.
    #[must_use]
    pub fn to_invite(call_id: String, local_tag: String, local: String, remote: String, remote_target: String) -> Self {
        Self {
            call_id,
            local_tag,
            remote_tag: None,
            local,
            remote,
            remote_target,
            route_set: Vec::new(),
            local_seq: 0,
            remote_seq: None,
        }
    }

    /// A response to our INVITE came from this end: its tag, its target, its routes (section 12.1.2).
    pub fn learn(&mut self, response: &Message) {
        if let Some(tag) = response.to().ok().and_then(|to| to.tag().map(str::to_owned)) {
            self.remote_tag = Some(tag);
        }
        self.refresh_target(response);
        let mut routes = record_routes(response);
        routes.reverse();
        self.route_set = routes;
    }

    /// A target refresh (section 12.2): a new Contact replaces the old one.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(contact) = message.contact() {
            contact.uri.text.clone_into(&mut self.remote_target);
        }
    }

    /// Holds a request against the dialog and takes its number.
    ///
    /// # Errors
    /// See [`DialogError`].
    pub fn receive(&mut self, request: &Message) -> Result<(), DialogError> {
        let from = request.from().map_err(|_| DialogError::NotThisDialog)?;
        let same = request.call_id() == Ok(self.call_id.as_str()) && from.tag() == self.remote_tag.as_deref();
        if !same {
            return Err(DialogError::NotThisDialog);
        }
        // ACK and CANCEL bear the number of the INVITE that they belong to.
        if matches!(request.method(), Some(Method::Ack | Method::Cancel)) {
            return Ok(());
        }
        let number = request.cseq().map_err(|_| DialogError::OutOfOrder)?.number;
        if self.remote_seq.is_some_and(|last| number <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_seq = Some(number);
        Ok(())
    }

    /// A request of ours within the dialog, up to and with CSeq; `via` is its top Via.
    pub fn request(&mut self, method: Method, via: &str, max_forwards: u8) -> Writer {
        self.local_seq += 1;
        self.numbered(method, self.local_seq, via, max_forwards)
    }

    /// The ACK to a 2xx: it bears its INVITE's number, whatever has been sent since.
    #[must_use]
    pub fn ack(&self, invite_seq: u32, via: &str, max_forwards: u8) -> Writer {
        self.numbered(Method::Ack, invite_seq, via, max_forwards)
    }

    fn numbered(&self, method: Method, seq: u32, via: &str, max_forwards: u8) -> Writer {
        // Strict routers (section 12.2.1.1) are gone from the field: a first route without `lr` is used as a loose one.
        let remote_tag = self.remote_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        Writer::request(method, &self.remote_target)
            .header("Via", via)
            .headers("Route", &self.route_set)
            .header("Max-Forwards", max_forwards)
            .header("From", format_args!("{};tag={}", self.local, self.local_tag))
            .header("To", format_args!("{}{remote_tag}", self.remote))
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{seq} {}", method.as_str()))
    }

    /// The URI whose address a request of ours is sent to: the first route, else the target (section 12.2.1.1).
    #[must_use]
    pub fn next_hop(&self) -> String {
        let route = self.route_set.first().and_then(|r| NameAddr::parse(r.as_bytes()).ok());
        route.map_or_else(|| self.remote_target.clone(), |route| route.uri.text.to_owned())
    }
}

fn record_routes(message: &Message) -> Vec<String> {
    message.values(HeaderName::RecordRoute).flatten().map(|v| String::from_utf8_lossy(v).into_owned()).collect()
}

/// `"Name" <uri>` in bracketed form: what follows are the header's parameters alone.
fn without_tag(address: &NameAddr<'_>) -> String {
    name_addr(address.display_text().as_deref(), &address.uri)
}

fn name_addr(display: Option<&str>, uri: &Uri<'_>) -> String {
    match display {
        Some(display) => format!("{} <{uri}>", crate::wire::sip::quote(display)),
        None => format!("<{uri}>"),
    }
}
