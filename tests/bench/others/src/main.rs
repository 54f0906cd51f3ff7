//! Every SIP parser that was looked at and Ringway's own, on one INVITE, in one run: `script/bench --parsers`. Trust the
//! ratios, not the nanoseconds.

#[path = "../../harness.rs"]
mod harness;
mod parsers;

use harness::{Cost, compare};
use parsers::INVITE;

const ROUNDS: usize = 21;
const ITERATIONS: usize = 1_000;

fn row(name: &str, whole: Cost, parse: Cost, ours: Cost, note: &str) {
    let ratio = whole.ns / ours.ns;
    println!(
        "{name:<20} {:>8.0} ({:>3.0}) {:>8.0} ({:>3.0}) {ratio:>10.2}  {note}",
        parse.ns, parse.allocations, whole.ns, whole.allocations
    );
}

fn main() {
    let [ringway, rsip, rsipstack, ezk, sip_core, rvoip] = compare(
        ROUNDS,
        ITERATIONS,
        [
            &mut parsers::ringway::five,
            &mut parsers::rsip::five,
            &mut parsers::rsipstack::five,
            &mut parsers::ezk::five,
            &mut parsers::sip_core::five,
            &mut parsers::rvoip::five,
        ],
    );
    let [ringway_parse, rsip_parse, rsipstack_parse, ezk_parse, sip_core_parse, rvoip_parse] = compare(
        ROUNDS,
        ITERATIONS,
        [
            &mut parsers::ringway::bare,
            &mut parsers::rsip::bare,
            &mut parsers::rsipstack::bare,
            &mut parsers::ezk::bare,
            &mut parsers::sip_core::bare,
            &mut parsers::rvoip::bare,
        ],
    );
    println!("{} bytes of INVITE: ns (allocations); typed: Via, From, To, CSeq, Contact", INVITE.len());
    println!("{:<20} {:>14} {:>14} {:>10}", "", "parse", "parse + typed", "to ours");
    row("ringway", ringway, ringway_parse, ringway, "");
    row("rsip 0.4", rsip, rsip_parse, ringway, "");
    row("rsipstack 0.7", rsipstack, rsipstack_parse, ringway, "");
    row("ezk-sip-types 0.6", ezk, ezk_parse, ringway, "");
    row("sip-core 0.3", sip_core, sip_core_parse, ringway, "text alone: it has no typed headers but CSeq");
    row("rvoip-sip-core 0.4", rvoip, rvoip_parse, ringway, "types every header while parsing");
}
