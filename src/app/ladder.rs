//! `ringway ladder`: one call as a sequence diagram, an arrow a message.
//!
//! With `--pcap` it becomes a capture file instead: see `pcap.rs`.
//!
//! The caller stands left of the gateway; each further Call-ID, in the order in which they appear, has a column right of it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::calls::utc;
use super::pcap::pcap;
use super::show;
use crate::io::store::{CallMatch, Store};
use crate::signalling::record::{CallRecord, TraceRecord};

#[derive(Debug, Args)]
pub(super) struct LadderArgs {
    /// The call's id, the SIP Call-ID of either side, or the beginning of one of these
    #[arg(value_name = "CALL-ID", required_unless_present = "all")]
    call: Option<String>,
    /// Print each message as it was on the wire
    #[arg(long)]
    full: bool,
    /// Write the messages to a capture file for Wireshark or tcpdump instead
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// All messages that are kept, registrations among them
    #[arg(long, requires = "pcap", conflicts_with = "call")]
    all: bool,
}

pub(super) fn ladder(store: &Store, args: &LadderArgs) -> anyhow::Result<()> {
    let Some(call) = &args.call else { return write_pcap(args, &store.trace()?) };
    let id = match store.find_call(call)? {
        CallMatch::One(id) => id,
        CallMatch::None => bail!("no call {call}; `ringway calls` lists them"),
        CallMatch::Several(ids) => bail!("several calls begin with {call}: {}", ids.join(", ")),
    };
    let trace = store.trace_of(&id)?;
    if args.pcap.is_some() {
        return write_pcap(args, &trace);
    }
    let mut text = head(&id, store.call(&id)?.as_ref());
    if trace.is_empty() {
        text.push_str("\nIts messages are no longer kept.\n");
    } else {
        text.push_str(&draw(&trace, args.full));
    }
    show(&text)
}

fn write_pcap(args: &LadderArgs, trace: &[TraceRecord]) -> anyhow::Result<()> {
    let Some(path) = &args.pcap else { return Ok(()) };
    std::fs::write(path, pcap(trace)).with_context(|| path.display().to_string())?;
    show(&format!("Wrote {} messages to {}.\n", trace.len(), path.display()))
}

fn head(id: &str, record: Option<&CallRecord>) -> String {
    let Some(record) = record else { return format!("Call {id}, which has not ended yet\n") };
    let CallRecord { from, dialled, because, status, ended_by, pipeline, .. } = record;
    let mut text = format!("Call {id}: {from} dialled {dialled} at {} UTC; {status}, {ended_by}\n", utc(record.started_unix_ms));
    for (what, value) in [("routed by", because), ("audio", pipeline)] {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what}: {value}");
        }
    }
    for (who, leg) in ["caller", "callee"].iter().zip(&record.media) {
        if !leg.verdict.is_empty() {
            let _ = writeln!(text, "  {who}'s audio: {}", leg.verdict);
        }
    }
    text
}

/// The widest that a message's summary may make a column.
const WIDEST: usize = 48;

/// What stands left of the first column: `    12.345 s `.
const TIME_WIDTH: usize = 13;

/// Where a message stands between columns.
struct Layout<'a> {
    call_ids: Vec<&'a str>,
    gap: usize,
}

impl<'a> Layout<'a> {
    fn of(messages: &'a [Message<'a>]) -> Self {
        let mut call_ids: Vec<&str> = Vec::new();
        for message in messages {
            if !call_ids.contains(&message.call_id.as_ref()) {
                call_ids.push(&message.call_id);
            }
        }
        let longest = messages.iter().map(|message| message.summary.chars().count()).max().unwrap_or(0);
        Self { call_ids, gap: longest.min(WIDEST) + 6 }
    }

    /// Column 0 is the caller, 1 the gateway, the rest the other sides.
    fn column(&self, message: &Message<'_>) -> usize {
        match self.call_ids.iter().position(|known| *known == message.call_id) {
            None | Some(0) => 0,
            Some(other) => other + 1,
        }
    }

    fn columns(&self) -> usize {
        self.call_ids.len() + 1
    }

    fn x(&self, column: usize) -> usize {
        TIME_WIDTH + column * (self.gap + 1)
    }

    /// A line with every column's bar, and nothing else yet.
    fn line(&self, time: &str) -> Vec<char> {
        let mut line = vec![' '; self.x(self.columns() - 1) + 1];
        put(&mut line, 0, time);
        for column in 0..self.columns() {
            line[self.x(column)] = '│';
        }
        line
    }
}

fn put(line: &mut [char], at: usize, text: &str) {
    for (place, sign) in line[at..].iter_mut().zip(text.chars()) {
        *place = sign;
    }
}

fn draw(trace: &[TraceRecord], full: bool) -> String {
    let messages: Vec<Message<'_>> = trace.iter().map(Message::read).collect();
    let layout = Layout::of(&messages);
    let mut text = format!("\n{}\n", names(&layout, &messages, trace));
    let start = trace.first().map_or(0, |record| record.unix_us);
    for (message, record) in messages.iter().zip(trace) {
        let offset_ms = record.unix_us.saturating_sub(start) / 1000;
        let mut line = layout.line(&format!("{:6}.{:03} s", offset_ms / 1000, offset_ms % 1000));
        let (left, right, rightward) = match layout.column(message) {
            0 => (0, 1, record.rx),
            other => (1, other, !record.rx),
        };
        let (from, to) = (layout.x(left) + 1, layout.x(right));
        put(&mut line, from, &arrow(&message.summary, to - from, rightward));
        let line: String = line.into_iter().collect();
        let _ = writeln!(text, "{line}");
        if full {
            let way = if record.rx { "from" } else { "to" };
            let _ = writeln!(text, "\n    {way} {} by {}, here {}", record.remote, record.transport, record.local);
            for line in String::from_utf8_lossy(&record.bytes).lines() {
                let _ = writeln!(text, "    {line}");
            }
            text.push('\n');
        }
    }
    text
}

/// The line above the bars: who stands where, each name in the middle over its bar.
fn names(layout: &Layout<'_>, messages: &[Message<'_>], trace: &[TraceRecord]) -> String {
    let mut line = vec![' '; layout.x(layout.columns())];
    for column in 0..layout.columns() {
        let name = if column == 1 {
            "ringway".to_owned()
        } else {
            let here = |(message, _): &(&Message<'_>, &TraceRecord)| layout.column(message) == column;
            let records: Vec<&TraceRecord> = messages.iter().zip(trace).filter(here).map(|(_, record)| record).collect();
            let named = records.iter().map(|record| record.peer.clone()).find(|peer| !peer.is_empty());
            named.or_else(|| records.first().map(|record| record.remote.to_string())).unwrap_or_default()
        };
        let name: String = name.chars().take(layout.gap).collect();
        let at = layout.x(column).saturating_sub(name.chars().count() / 2);
        put(&mut line, at, &name);
    }
    line.into_iter().collect::<String>().trim_end().to_owned()
}

/// `─ INVITE sip:600@… ─────▶`, `width` signs wide.
fn arrow(summary: &str, width: usize, rightward: bool) -> String {
    let room = width.saturating_sub(5);
    let mut label: String = summary.chars().take(room).collect();
    if summary.chars().count() > room {
        label.pop();
        label.push('…');
    }
    let line = "─".repeat(width.saturating_sub(label.chars().count() + 4));
    if rightward { format!("─ {label} {line}▶") } else { format!("◀ {label} {line}─") }
}

/// What the diagram needs of a message. It shows what was on the wire, so it reads whatever is there and never refuses.
struct Message<'a> {
    call_id: Cow<'a, str>,
    summary: String,
}

impl<'a> Message<'a> {
    fn read(record: &'a TraceRecord) -> Self {
        let bytes = &record.bytes[..];
        let body_at = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let (head, body) = bytes.split_at(body_at);
        let (head, body) = (String::from_utf8_lossy(head), String::from_utf8_lossy(body));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let mut call_id = "";
        let mut method = "";
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "call-id" | "i" => call_id = value.trim(),
                "cseq" => method = value.split_whitespace().nth(1).unwrap_or_default(),
                _ => {}
            }
        }
        let mut summary = match first.strip_prefix("SIP/2.0 ") {
            Some(status) if method == "INVITE" => status.to_owned(),
            Some(status) => format!("{status} ({method})"),
            None => {
                let mut words = first.split(' ');
                let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                format!("{method} {}", uri.split_once('@').map_or_else(|| uri.to_owned(), |(user, _)| format!("{user}@…")))
            }
        };
        if let Some(codecs) = codecs(&body) {
            let _ = write!(summary, " (SDP {codecs})");
        }
        Self { call_id: Cow::Owned(call_id.to_owned()), summary }
    }
}

/// The codecs that an SDP body names, in its order: `opus pcmu`.
fn codecs(body: &str) -> Option<String> {
    let media = body.lines().find_map(|line| line.strip_prefix("m="))?;
    let name = |pt: &str| {
        let mapped = body.lines().find_map(|line| {
            let (number, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            (number == pt).then(|| encoding.split('/').next().unwrap_or_default().to_ascii_lowercase())
        });
        // RFC 3551's numbers need no rtpmap.
        let fixed = match pt {
            "0" => "pcmu",
            "8" => "pcma",
            other => other,
        };
        mapped.unwrap_or_else(|| fixed.to_owned())
    };
    let mut names: Vec<String> = media.split_whitespace().skip(3).map(name).filter(|name| name != "telephone-event").collect();
    names.dedup();
    Some(names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ms: u64, rx: bool, peer: &str, text: &str) -> TraceRecord {
        TraceRecord {
            unix_us: 1_000_000 + ms * 1000,
            call: Some("aaaabbbbcccc".to_owned()),
            rx,
            transport: "udp",
            local: "10.0.0.1:5060".parse().expect("an address"),
            remote: "10.0.0.2:5060".parse().expect("an address"),
            peer: peer.to_owned(),
            bytes: text.replace('\n', "\r\n").into(),
        }
    }

    #[test]
    fn a_call_is_drawn_as_it_went() {
        let offer = "v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 126\na=rtpmap:111 opus/48000/2\na=rtpmap:126 telephone-event/8000\n";
        let trace = [
            message(0, true, "alice", &format!("INVITE sip:200@a.org SIP/2.0\nCall-ID: a\nCSeq: 1 INVITE\n\n{offer}")),
            message(2, false, "alice", "SIP/2.0 100 Trying\ni: a\nCSeq: 1 INVITE\n\n"),
            message(
                5,
                false,
                "",
                "INVITE sip:200@10.0.0.2 SIP/2.0\nCall-ID: b\nCSeq: 1 INVITE\n\nv=0\nm=audio 4000 RTP/AVP 0 8\n",
            ),
            message(1234, true, "", "SIP/2.0 180 Ringing\nCall-ID: b\nCSeq: 1 INVITE\n\n"),
            message(12345, true, "alice", "BYE sip:x@10.0.0.1 SIP/2.0\nCall-ID: a\nCSeq: 2 BYE\n\n"),
            message(12346, false, "alice", "SIP/2.0 200 OK\nCall-ID: a\nCSeq: 2 BYE\n\n"),
        ];
        let drawn = draw(&trace, false);
        let expected = "
           alice                                 ringway                             10.0.0.2:5060
     0.000 s │─ INVITE sip:200@… (SDP opus pcmu) ──▶│                                      │
     0.002 s │◀ 100 Trying ─────────────────────────│                                      │
     0.005 s │                                      │─ INVITE sip:200@… (SDP pcmu pcma) ──▶│
     1.234 s │                                      │◀ 180 Ringing ────────────────────────│
    12.345 s │─ BYE sip:x@… ───────────────────────▶│                                      │
    12.346 s │◀ 200 OK (BYE) ───────────────────────│                                      │
";
        assert_eq!(drawn, expected, "\n{drawn}");
    }
}
