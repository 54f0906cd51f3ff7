//! What a PUBLISH says (RFC 3863, 4479, 4480): whether its sender is open, one activity, one note. All else is passed over.
//!
//! The reader is given bytes of bounded length, goes to a bounded depth, makes no tree, and knows no entity but XML's own
//! five: a document type is refused, so there is nothing that could be expanded.

use quick_xml::events::{BytesRef, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// How deep elements may stand in each other; a presence document is five deep.
const MAX_DEPTH: usize = 16;
/// A longer note is cut.
const MAX_NOTE_CHARS: usize = 256;

/// RFC 4480 section 3.2, those that have no text.
const ACTIVITIES: [&str; 25] = [
    "appointment",
    "away",
    "breakfast",
    "busy",
    "dinner",
    "holiday",
    "in-transit",
    "looking-for-work",
    "lunch",
    "meal",
    "meeting",
    "on-the-phone",
    "performance",
    "permanent-absence",
    "playing",
    "presentation",
    "shopping",
    "sleeping",
    "spectator",
    "steering",
    "travel",
    "tv",
    "vacation",
    "working",
    "worship",
];

/// What is kept of a published document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Published {
    pub(super) open: Option<bool>,
    pub(super) activity: Option<&'static str>,
    pub(super) note: Option<String>,
}

/// Why a document cannot be used: answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PidfError {
    /// No XML, no UTF-8, no presence document, or one with a document type or an entity of its own.
    Malformed,
    /// Elements in elements in elements.
    TooDeep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Presence,
    Tuple,
    Status,
    Basic,
    Note,
    Person,
    Activities,
    Other,
}

impl Element {
    fn of(parent: Option<Self>, namespace: &str, name: &str) -> Self {
        match (parent, namespace, name) {
            (None, "urn:ietf:params:xml:ns:pidf", "presence") => Self::Presence,
            (Some(Self::Presence), "urn:ietf:params:xml:ns:pidf", "tuple") => Self::Tuple,
            (Some(Self::Tuple), "urn:ietf:params:xml:ns:pidf", "status") => Self::Status,
            (Some(Self::Status), "urn:ietf:params:xml:ns:pidf", "basic") => Self::Basic,
            (Some(Self::Presence | Self::Tuple), "urn:ietf:params:xml:ns:pidf", "note")
            | (Some(Self::Person), "urn:ietf:params:xml:ns:pidf:data-model", "note") => Self::Note,
            (Some(Self::Presence), "urn:ietf:params:xml:ns:pidf:data-model", "person") => Self::Person,
            (Some(Self::Person), "urn:ietf:params:xml:ns:pidf:rpid", "activities") => Self::Activities,
            _ => Self::Other,
        }
    }
}

/// The document while it is read.
#[derive(Default)]
struct Reading {
    path: Vec<Element>,
    /// Of the `basic` or `note` that is open.
    text: String,
    found: Published,
    seen_root: bool,
}

/// Reads a presence document.
///
/// # Errors
/// See [`PidfError`].
pub(super) fn read(body: &[u8]) -> Result<Published, PidfError> {
    let text = std::str::from_utf8(body).map_err(|_| PidfError::Malformed)?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut reading = Reading::default();
    loop {
        match reader.read_resolved_event().map_err(|_| PidfError::Malformed)? {
            (ResolveResult::Bound(namespace), Event::Start(tag)) => {
                reading.open(namespace.as_ref(), tag.local_name().as_ref())?;
            }
            (_, Event::Start(_)) => reading.open("", "")?,
            (_, Event::End(_)) => reading.close()?,
            (_, Event::Text(text)) => reading.text.push_str(&text),
            (_, Event::CData(text)) => reading.text.push_str(&text),
            (_, Event::GeneralRef(reference)) => reading.text.push(character(&reference)?),
            (_, Event::DocType(_)) => return Err(PidfError::Malformed),
            (_, Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
            (_, Event::Eof) if reading.path.is_empty() && reading.seen_root => return Ok(reading.found),
            (_, Event::Eof) => return Err(PidfError::Malformed),
        }
    }
}

fn character(reference: &BytesRef<'_>) -> Result<char, PidfError> {
    if let Some(c) = reference.resolve_char_ref().map_err(|_| PidfError::Malformed)? {
        return Ok(c);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(PidfError::Malformed),
    }
}

impl Reading {
    fn open(&mut self, namespace: &str, name: &str) -> Result<(), PidfError> {
        if self.path.len() == MAX_DEPTH {
            return Err(PidfError::TooDeep);
        }
        let parent = self.path.last().copied();
        let element = Element::of(parent, namespace, name);
        if parent.is_none() {
            if self.seen_root || element != Element::Presence {
                return Err(PidfError::Malformed);
            }
            self.seen_root = true;
        }
        if parent == Some(Element::Activities) && namespace == "urn:ietf:params:xml:ns:pidf:rpid" {
            self.found.activity = self.found.activity.or_else(|| ACTIVITIES.into_iter().find(|known| *known == name));
        }
        self.path.push(element);
        self.text.clear();
        Ok(())
    }

    fn close(&mut self) -> Result<(), PidfError> {
        let element = self.path.pop().ok_or(PidfError::Malformed)?;
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        match (element, text) {
            // Of several devices one that is open is enough.
            (Element::Basic, "open") => self.found.open = Some(true),
            (Element::Basic, "closed") => self.found.open = self.found.open.or(Some(false)),
            (Element::Note, note) if !note.is_empty() && self.found.note.is_none() => {
                self.found.note = Some(note.chars().take(MAX_NOTE_CHARS).collect());
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIDF: &str = "urn:ietf:params:xml:ns:pidf";

    #[test]
    fn takes_status_activity_and_note_whatever_the_prefixes() {
        let xml = format!(
            r#"<?xml version="1.0"?><p:presence xmlns:p="{PIDF}" xmlns:d="{PIDF}:data-model" xmlns:r="{PIDF}:rpid" entity="sip:a@b">
            <p:tuple id="x"><p:status><p:basic> open </p:basic><x xmlns="urn:y"><basic>closed</basic></x></p:status></p:tuple>
            <d:person id="p"><r:activities><r:away/><r:busy/></r:activities><d:note>Back &#x61;t 5 &amp; a bit</d:note></d:person></p:presence>"#
        );
        let expected = Published { open: Some(true), activity: Some("away"), note: Some("Back at 5 & a bit".into()) };
        assert_eq!(read(xml.as_bytes()), Ok(expected));
        // The same names in no namespace mean nothing.
        let bare = "<presence><tuple><status><basic>open</basic></status></tuple></presence>";
        assert_eq!(read(bare.as_bytes()), Err(PidfError::Malformed));
    }

    #[test]
    fn nothing_is_expanded_and_nothing_goes_deep() {
        let wrap = |inner: &str| format!("<presence xmlns=\"{PIDF}\">{inner}</presence>");
        let laughs = format!("<!DOCTYPE p [<!ENTITY a \"ha\">]>{}", wrap("<note>&a;</note>"));
        assert_eq!(read(laughs.as_bytes()), Err(PidfError::Malformed));
        assert_eq!(read(wrap("<note>&a;</note>").as_bytes()), Err(PidfError::Malformed));
        let deep = wrap(&("<x>".repeat(MAX_DEPTH) + &"</x>".repeat(MAX_DEPTH)));
        assert_eq!(read(deep.as_bytes()), Err(PidfError::TooDeep));
        let edge = wrap(&("<x>".repeat(MAX_DEPTH - 1) + &"</x>".repeat(MAX_DEPTH - 1)));
        assert_eq!(read(edge.as_bytes()), Ok(Published::default()));
        for bad in ["", "x", "<presence", "<presence xmlns='urn:ietf:params:xml:ns:pidf'>", "\u{feff}", "<a></b>"] {
            assert_eq!(read(bad.as_bytes()), Err(PidfError::Malformed), "{bad}");
        }
        assert_eq!(read(b"\xff\xfe<\0p\0"), Err(PidfError::Malformed));
        let long = wrap(&format!("<note>{}</note>", "ä".repeat(1_000)));
        assert_eq!(read(long.as_bytes()).expect("read").note.map(|n| n.chars().count()), Some(MAX_NOTE_CHARS));
    }
}
