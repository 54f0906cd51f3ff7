//! What to tell the person who asks why there was no sound.

use super::ending::Words;
use super::leg::Leg;
use crate::plan::{LegRemote, LegStats};
use crate::policy::profile::MediaKind;
use crate::signalling::record::LegMedia;

/// `listens`: whether anybody is there to hear the leg (a tone listens to nobody, and its packets are dropped).
pub(super) fn of(leg: &Leg, stats: LegStats, answered: bool, listens: bool) -> LegMedia {
    let verdict = if let Some(failure) = leg.failure.filter(|_| stats.rx_packets == 0) {
        format!("failed: {}", Words(failure))
    } else if stats.rx_packets > stats.rx_dropped || (!listens && stats.rx_packets > 0) {
        "ok".to_owned()
    } else if !answered {
        "not answered".to_owned()
    } else {
        silent(leg, stats)
    };
    LegMedia { stats, verdict }
}

fn silent(leg: &Leg, stats: LegStats) -> String {
    let dropped =
        if stats.rx_dropped > 0 { format!(" that could be used ({} dropped)", stats.rx_dropped) } else { String::new() };
    match (leg.offer.kind(), leg.offer.leg_remote()) {
        (MediaKind::Webrtc, _) if !leg.connected => "no connection: ICE or DTLS did not complete".to_owned(),
        (MediaKind::Webrtc, _) => format!("ICE ok, DTLS ok, no packet{dropped} from {}", leg.who),
        (MediaKind::Rtp, Some(LegRemote::Rtp { rtp, .. })) => format!("no packet{dropped} from {} (its SDP said {rtp})", leg.who),
        (MediaKind::Rtp, _) => format!("no packet{dropped} from {}", leg.who),
    }
}
