//! One INVITE as JsSIP sends it, ours against rsip in one run: `cargo bench --bench sip_parse`. Trust the ratios, not the
//! nanoseconds. More parsers: `script/bench --parsers`.

mod harness;

use std::hint::black_box;

use bytes::Bytes;
use harness::{Cost, compare};
use ringway::wire::sip::{Framing, Message, response_to};
use rsip::headers::ToTypedHeader;
use rsip::prelude::HeadersExt;

const INVITE: &[u8] = include_bytes!("jssip_invite.sip");
const ROUNDS: usize = 41;
const ITERATIONS: usize = 2_000;

/// From the bytes in a socket's buffer, so with the copy that the buffer's reuse asks for.
fn parse() -> Message {
    Message::parse(Bytes::copy_from_slice(INVITE), Framing::WebSocket).expect("an INVITE")
}

/// What routing needs, typed.
fn five(message: &Message) {
    black_box(message.via().expect("Via"));
    black_box(message.from().expect("From"));
    black_box(message.to().expect("To"));
    black_box(message.cseq().expect("CSeq"));
    black_box(message.contact().expect("Contact"));
}

fn rsip_parse() -> rsip::Request {
    rsip::Request::try_from(INVITE).expect("an INVITE")
}

fn rsip_five(request: &rsip::Request) {
    black_box(request.via_header().expect("Via").typed().expect("Via"));
    black_box(request.from_header().expect("From").typed().expect("From"));
    black_box(request.to_header().expect("To").typed().expect("To"));
    black_box(request.cseq_header().expect("CSeq").typed().expect("CSeq"));
    black_box(request.contact_header().expect("Contact").typed().expect("Contact"));
}

fn rsip_response(request: &rsip::Request) -> Vec<u8> {
    let mut headers = rsip::Headers::default();
    headers.push(request.via_header().expect("Via").clone().into());
    headers.push(request.from_header().expect("From").clone().into());
    headers.push(request.to_header().expect("To").clone().into());
    headers.push(request.call_id_header().expect("Call-ID").clone().into());
    headers.push(request.cseq_header().expect("CSeq").clone().into());
    headers.push(rsip::headers::ContentLength::from(0u32).into());
    rsip::Response { status_code: rsip::StatusCode::Trying, headers, version: rsip::Version::V2, body: Vec::new() }.into()
}

fn row(what: &str, ours: Cost, theirs: Cost) {
    println!(
        "{what:<26} {:>7.0} ({:>2.0}) {:>7.0} ({:>2.0}) {:>12.2}",
        ours.ns,
        ours.allocations,
        theirs.ns,
        theirs.allocations,
        ours.ns / theirs.ns
    );
}

fn main() {
    let (message, request) = (parse(), rsip_parse());
    let source = "198.51.100.23:50000".parse().expect("an address");
    let [ours, theirs, parse_ours, parse_theirs, five_ours, five_theirs, check, write_ours, write_theirs] = compare(
        ROUNDS,
        ITERATIONS,
        [
            &mut || five(&parse()),
            &mut || rsip_five(&rsip_parse()),
            &mut || _ = black_box(parse()),
            &mut || _ = black_box(rsip_parse()),
            &mut || five(black_box(&message)),
            &mut || rsip_five(black_box(&request)),
            &mut || black_box(&message).check().expect("a sound INVITE"),
            &mut || _ = black_box(response_to(&message, 100, "", None, source).end()),
            &mut || _ = black_box(rsip_response(&request)),
        ],
    );
    println!("{} bytes of INVITE: ns (allocations)", INVITE.len());
    println!("{:<26} {:>12} {:>12} {:>12}", "", "ours", "rsip 0.4", "ours/theirs");
    row("parse + five headers", ours, theirs);
    row("  parse", parse_ours, parse_theirs);
    row("  Via From To CSeq Contact", five_ours, five_theirs);
    row("write a response", write_ours, write_theirs);
    println!("{:<26} {:>7.0} ({:>2.0})", "check the whole message", check.ns, check.allocations);
}
