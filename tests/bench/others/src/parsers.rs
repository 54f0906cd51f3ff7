//! One module a crate: `bare` parses the INVITE, `five` also reads what routing needs of it. Each starts from the bytes in
//! a socket's buffer.

use std::hint::black_box;

use bytes::Bytes;

/// As JsSIP sends it.
pub const INVITE: &[u8] = include_bytes!("../../jssip_invite.sip");

pub mod ringway {
    use super::*;
    use ::ringway::wire::sip::{Framing, Message};

    fn parse() -> Message {
        Message::parse(Bytes::copy_from_slice(INVITE), Framing::WebSocket).expect("an INVITE")
    }

    pub fn bare() {
        black_box(parse());
    }

    pub fn five() {
        let message = parse();
        black_box(message.via().expect("Via"));
        black_box(message.from().expect("From"));
        black_box(message.to().expect("To"));
        black_box(message.cseq().expect("CSeq"));
        black_box(message.contact().expect("Contact"));
    }
}

pub mod rsip {
    use super::*;
    use ::rsip::Request;
    use ::rsip::headers::ToTypedHeader;
    use ::rsip::prelude::HeadersExt;

    pub fn bare() {
        black_box(Request::try_from(INVITE).expect("an INVITE"));
    }

    pub fn five() {
        let request = Request::try_from(INVITE).expect("an INVITE");
        black_box(request.via_header().expect("Via").typed().expect("Via"));
        black_box(request.from_header().expect("From").typed().expect("From"));
        black_box(request.to_header().expect("To").typed().expect("To"));
        black_box(request.cseq_header().expect("CSeq").typed().expect("CSeq"));
        black_box(request.contact_header().expect("Contact").typed().expect("Contact"));
    }
}

pub mod rsipstack {
    use super::*;
    use ::rsipstack::sip::Request;
    use ::rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};

    pub fn bare() {
        black_box(Request::try_from(INVITE).expect("an INVITE"));
    }

    pub fn five() {
        let request = Request::try_from(INVITE).expect("an INVITE");
        black_box(request.via_header().expect("Via").typed().expect("Via"));
        black_box(request.from_header().expect("From").typed().expect("From"));
        black_box(request.to_header().expect("To").typed().expect("To"));
        black_box(request.cseq_header().expect("CSeq").typed().expect("CSeq"));
        black_box(request.contact_header().expect("Contact").typed().expect("Contact"));
    }
}

/// It has no message: this is the loop that its own transport runs over its pieces.
pub mod ezk {
    use super::*;
    use ezk_sip_types::header::typed::{CSeq, Contact, FromTo, Via};
    use ezk_sip_types::msg::{Line, MessageLine, PullParser};
    use ezk_sip_types::parse::Parse;
    use ezk_sip_types::{Headers, Name};

    fn parse() -> (MessageLine, Headers) {
        let src = Bytes::copy_from_slice(INVITE);
        let mut lines = PullParser::new(&src, 0).map(|line| std::str::from_utf8(line.expect("complete")).expect("UTF-8"));
        let (_, start) = MessageLine::parse(&src)(lines.next().expect("a first line")).expect("an INVITE");
        let mut headers = Headers::new();
        for line in lines {
            let (_, line) = Line::parse(&src, line).expect("a header");
            headers.insert(line.name, line.value);
        }
        (start, headers)
    }

    pub fn bare() {
        black_box(parse());
    }

    pub fn five() {
        let (start, headers) = parse();
        black_box(start);
        black_box(headers.get_named::<Via>().expect("Via"));
        black_box(headers.get::<FromTo>(Name::FROM).expect("From"));
        black_box(headers.get::<FromTo>(Name::TO).expect("To"));
        black_box(headers.get_named::<CSeq>().expect("CSeq"));
        black_box(headers.get_named::<Contact>().expect("Contact"));
    }
}

pub mod sip_core {
    use super::*;
    use ::sip_core::SipMessage;
    use ::sip_core::header::{HeaderName, extract_tag, extract_uri};

    fn parse() -> SipMessage {
        SipMessage::parse(std::str::from_utf8(INVITE).expect("UTF-8")).expect("an INVITE")
    }

    pub fn bare() {
        black_box(parse());
    }

    pub fn five() {
        let message = parse();
        black_box(message.headers().get(&HeaderName::Via).expect("Via"));
        let from = message.headers().get(&HeaderName::From).expect("From").as_str();
        black_box((extract_uri(from), extract_tag(from)));
        let to = message.headers().get(&HeaderName::To).expect("To").as_str();
        black_box((extract_uri(to), extract_tag(to)));
        black_box(message.cseq().expect("CSeq"));
        let contact = message.headers().get(&HeaderName::Contact).expect("Contact").as_str();
        black_box(extract_uri(contact));
    }
}

pub mod rvoip {
    use super::*;
    use rvoip_sip_core::{Message, parse_message};

    pub fn bare() {
        black_box(parse_message(INVITE).expect("an INVITE"));
    }

    pub fn five() {
        let Message::Request(request) = parse_message(INVITE).expect("an INVITE") else { panic!("it is a request") };
        black_box(request.first_via().expect("Via"));
        black_box(request.from().expect("From"));
        black_box(request.to().expect("To"));
        black_box(request.cseq().expect("CSeq"));
        black_box(request.contact_uri().expect("Contact"));
    }
}
