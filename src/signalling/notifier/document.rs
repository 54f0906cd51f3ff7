//! The bodies of NOTIFY, written: PIDF, dialog-info, simple-message-summary.

use std::fmt::Write as _;

use crate::wire::sip::escape_user;

/// Whether, and how, an account can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Presence {
    pub(super) open: bool,
    pub(super) on_the_phone: bool,
    pub(super) activity: Option<&'static str>,
    pub(super) note: Option<String>,
}

/// Who called whom, as the account sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It calls.
    Initiator,
    /// It is called.
    Recipient,
}

/// How far a call has come (RFC 4235 section 3.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been heard.
    Trying,
    /// It rings.
    Early,
    /// They talk.
    Confirmed,
    /// It is over: said once, then no more.
    Terminated,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Early => "early",
            Self::Confirmed => "confirmed",
            Self::Terminated => "terminated",
        }
    }
}

/// One call of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogState {
    /// Unlike that of any other call of the account, for as long as the call lasts.
    pub id: String,
    /// Who called.
    pub direction: Direction,
    /// How far it has come.
    pub phase: Phase,
    /// The other one's URI: shown to the account itself alone.
    pub remote: Option<String>,
}

/// The address of an account.
pub(super) fn address(account: &str, domain: &str) -> String {
    format!("sip:{}@{domain}", escape_user(account))
}

/// RFC 3863, with the activities of RFC 4480 in the person of RFC 4479.
pub(super) fn pidf(account: &str, domain: &str, presence: &Presence) -> String {
    let basic = if presence.open { "open" } else { "closed" };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{}\">\r\n<tuple id=\"t1\"><status><basic>{basic}</basic></status>",
        escape(&address(account, domain))
    );
    if let Some(note) = &presence.note {
        push(&mut xml, format_args!("<note>{}</note>", escape(note)));
    }
    xml.push_str("</tuple>\r\n");
    let phone = presence.on_the_phone.then_some("on-the-phone");
    let other = presence.activity.filter(|activity| Some(*activity) != phone);
    let activities: String = phone.into_iter().chain(other).map(|a| format!("<rpid:{a}/>")).collect();
    if !activities.is_empty() {
        push(&mut xml, format_args!("<dm:person id=\"p1\"><rpid:activities>{activities}</rpid:activities></dm:person>\r\n"));
    }
    xml.push_str("</presence>\r\n");
    xml
}

/// RFC 4235 section 4: always the full state, so that a NOTIFY that was lost is made good by the next one.
pub(super) fn dialog_info<'a>(
    account: &str,
    domain: &str,
    version: u32,
    dialogs: impl Iterator<Item = &'a DialogState>,
    with_remote: bool,
) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" state=\"full\" entity=\"{}\">\r\n",
        escape(&address(account, domain))
    );
    for dialog in dialogs {
        let direction = match dialog.direction {
            Direction::Initiator => "initiator",
            Direction::Recipient => "recipient",
        };
        let (id, phase) = (escape(&dialog.id), dialog.phase.as_str());
        push(&mut xml, format_args!("<dialog id=\"{id}\" direction=\"{direction}\"><state>{phase}</state>"));
        if let Some(remote) = dialog.remote.as_ref().filter(|_| with_remote) {
            let identity = escape(remote);
            push(&mut xml, format_args!("<remote><identity>{identity}</identity></remote>"));
        }
        xml.push_str("</dialog>\r\n");
    }
    xml.push_str("</dialog-info>\r\n");
    xml
}

/// RFC 3842 section 5.2.
pub(super) fn message_summary(account: &str, domain: &str, (new, old): (u32, u32)) -> String {
    let waiting = if new > 0 { "yes" } else { "no" };
    format!("Messages-Waiting: {waiting}\r\nMessage-Account: {}\r\nText-Message: {new}/{old}\r\n", address(account, domain))
}

fn push(xml: &mut String, text: std::fmt::Arguments<'_>) {
    xml.write_fmt(text).expect("writing to memory does not fail");
}

/// Text as XML holds it, in an element or an attribute; what XML 1.0 cannot hold at all becomes a space.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::pidf;
    use super::*;

    #[test]
    fn a_note_cannot_break_out_of_its_element() {
        let evil = "</note><basic>closed</basic>&\"\u{0} ü 🎧";
        let presence = Presence { open: true, note: Some(evil.to_owned()), activity: Some("away"), ..Presence::default() };
        let xml = super::pidf("a\"b", "example.org", &presence);
        let read = pidf::read(xml.as_bytes()).expect("what we write is read");
        assert_eq!(read.note.as_deref(), Some("</note><basic>closed</basic>&\"  ü 🎧"));
        assert_eq!((read.open, read.activity), (Some(true), Some("away")));
    }

    #[test]
    fn only_the_account_itself_sees_with_whom_it_talks() {
        let dialog = DialogState {
            id: "d1".into(),
            direction: Direction::Recipient,
            phase: Phase::Confirmed,
            remote: Some("sip:+43%201@a.org".into()),
        };
        let own = dialog_info("alice", "a.org", 0, std::iter::once(&dialog), true);
        assert!(own.contains("<remote><identity>sip:+43%201@a.org</identity></remote>"), "{own}");
        assert!(!dialog_info("alice", "a.org", 0, std::iter::once(&dialog), false).contains("43"));
    }
}
