//! Key presses as INFO (RFC 6086 before its time): `application/dtmf-relay` with key and length, `application/dtmf` with the
//! key alone. No RFC describes the bodies; these are the shapes that are sent in the field.

use super::screen::Arrived;
use super::{Engine, Output, Owner};
use crate::base::Now;
use crate::plan::LegId;
use crate::policy::profile::Dtmf;
use crate::wire::sip::Method;

/// What a key is held for when nobody says: long enough for every receiver.
const USUAL_MS: u32 = 160;
/// Nobody holds a key for longer (and no peer makes us play one for longer).
const MAX_MS: u32 = 8_000;

const KEYS: &[u8; 16] = b"0123456789*#ABCD";

impl Engine {
    pub(super) fn on_info(&mut self, now: Now, leg: LegId, arrived: &Arrived, out: &mut Vec<Output>) {
        let is = |kind: &[u8]| arrived.request.content_type().is_some_and(|t| t.eq_ignore_ascii_case(kind));
        let known = is(b"application/dtmf-relay") || is(b"application/dtmf");
        if !known && !arrived.request.body().is_empty() {
            let writer = self.response(arrived, 415, "").header("Accept", "application/dtmf-relay, application/dtmf");
            return self.finish(now, arrived, 415, writer.end(), out);
        }
        if !known {
            // Some ask by an empty INFO whether the call is still there.
            return self.refuse(now, arrived, 200, "", out);
        }
        let Some((event, duration_ms)) = read(arrived.request.body()) else {
            return self.refuse(now, arrived, 400, "A key 0-9, *, #, A-D is expected", out);
        };
        self.refuse(now, arrived, 200, "", out);
        self.with_leg(now, leg, out, |call, acts| call.on_key(leg, event, duration_ms, acts));
    }

    pub(super) fn send_key(&mut self, now: Now, id: LegId, out: &mut Vec<Output>) {
        let Some(leg) = self.leg(id) else { return };
        let Some((event, duration_ms)) = leg.keys.front().copied() else { return };
        let key = char::from(KEYS[usize::from(event & 15)]);
        let (kind, body) = match leg.offer.profile().dtmf {
            Dtmf::Info => ("application/dtmf", key.to_string()),
            _ => ("application/dtmf-relay", format!("Signal={key}\r\nDuration={duration_ms}\r\n")),
        };
        let sent = self.request(now, id, Method::Info, Owner::Info(id), out, |writer, _| writer.body(kind, body.as_bytes()));
        if sent.is_none() {
            self.with_leg(now, id, out, |call, acts| call.on_key_done(id, acts));
        }
    }
}

/// The event code (RFC 4733 section 3.2) and length of a body: `Signal=5` and `Duration=160` on lines of their own, or a key
/// alone.
fn read(body: &[u8]) -> Option<(u8, u32)> {
    let text = std::str::from_utf8(body).ok()?;
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    let key = field("Signal").unwrap_or_else(|| text.trim());
    // Some send event codes: 10 for the star, 11 for the hash.
    let event = match key.as_bytes() {
        [key] => KEYS.iter().position(|k| k.eq_ignore_ascii_case(key))?,
        [b'1', digit @ b'0'..=b'5'] => 10 + usize::from(digit - b'0'),
        _ => return None,
    };
    let duration_ms = field("Duration").and_then(|d| d.parse::<u32>().ok()).unwrap_or(USUAL_MS).clamp(40, MAX_MS);
    Some((u8::try_from(event).ok()?, duration_ms))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn reads_the_shapes_of_the_field() {
        assert_eq!(read(b"Signal=5\r\nDuration=100"), Some((5, 100)));
        assert_eq!(read(b"Signal= *\r\nDuration= 250\r\n"), Some((10, 250)));
        assert_eq!(read(b"signal=10\n"), Some((10, 160)));
        assert_eq!(read(b"#"), Some((11, 160)));
        assert_eq!(read(b"d\r\n"), Some((15, 160)));
        assert_eq!(read(b"Signal=1\r\nDuration=999999"), Some((1, 8_000)));
        assert!([&b""[..], b"x", b"55", b"16", b"Signal=\r\n", b"\xff"].iter().all(|body| read(body).is_none()));
    }
}
