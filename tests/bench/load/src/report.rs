//! What was measured, as JSON; where the peers kit's generator says the same thing, by the same name.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::audio;
use crate::endpoint::{Endpoint, Tally, frames_ns};
use crate::hist::percentile;
use crate::process;
use crate::run::Outcome;
use crate::setup::SetUp;
use crate::spec::Spec;

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { rounded(part * 100.0 / whole) } else { 0.0 }
}

/// A line of figures each so many seconds of a long run.
pub(crate) struct Interval {
    every_ns: i64,
    begin_ns: i64,
    next_ns: i64,
    before: Tally,
    cpu_ns: u64,
    stood_ms: f64,
}

impl Interval {
    pub(crate) fn every(seconds: f64, begin_ns: i64) -> Option<Self> {
        let every_ns = (seconds * 1e9) as i64;
        (every_ns > 0).then(|| Self { every_ns, begin_ns, next_ns: begin_ns, before: Tally::default(), cpu_ns: 0, stood_ms: 0.0 })
    }

    /// Writes the line if it is time. Loss is of whole intervals: what is under way at their ends evens out.
    pub(crate) fn tell(&mut self, now: i64, tallies: &[Tally], pids: &[u32], stood_ms: f64) {
        if now < self.next_ns {
            return;
        }
        let mut sum = Tally::default();
        tallies.iter().for_each(|tally| sum.add(tally));
        let cpu_ns = process::cpu_ns(pids);
        if self.next_ns > self.begin_ns {
            let latency = sum.latency.since(&self.before.latency);
            let line = json!({
                "at_s": rounded((now - self.begin_ns) as f64 / 1e9),
                "sent": sum.sent - self.before.sent,
                "recv": sum.received - self.before.received,
                "gaps": sum.sequence_gaps - self.before.sequence_gaps,
                "lat_p50_ms": rounded(latency.percentile_ms(0.5)),
                "lat_p99_ms": rounded(latency.percentile_ms(0.99)),
                "lat_max_ms": rounded(latency.percentile_ms(1.0)),
                "peer_cpu_cores": rounded((cpu_ns - self.cpu_ns) as f64 / self.every_ns as f64),
                "stood_ms": rounded(stood_ms - self.stood_ms),
                "pss_kb": process::pss_kb(pids),
                "rss_kb": process::rss_kb(pids),
            });
            println!("{}", json!({ "interval": line }));
        }
        (self.before, self.cpu_ns, self.stood_ms) = (sum, cpu_ns, stood_ms);
        self.next_ns += self.every_ns;
    }
}

/// One direction of all calls: `PCMU>opus`.
#[derive(Default)]
struct Direction {
    tally: Tally,
    streams: usize,
    silent: usize,
    correlations: Vec<f64>,
    delays_ms: Vec<f64>,
    held: Vec<i64>,
    wrong: usize,
}

impl Direction {
    fn listen(&mut self, at: usize, here: &Endpoint, there: &Endpoint, spec: &Spec) -> Result<()> {
        // What is passed through was compared byte by byte; its marks would be heard.
        if here.kept.is_none() || there.is_marked {
            return Ok(());
        }
        let (found, heard, said) = audio::listen(here, there)?;
        if let Some(name) = spec.record.as_ref().filter(|_| at < 2) {
            let bytes = |pcm: &[i16]| -> Vec<u8> { pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect() };
            std::fs::write(format!("{name}-{at}.s16"), bytes(&heard))?;
            std::fs::write(format!("{name}-{at}-sent.s16"), bytes(&said))?;
        }
        self.correlations.push(found.correlation);
        self.wrong += usize::from(!found.is_right());
        if found.is_right() {
            self.delays_ms.push(found.delay_ms());
            self.held.push(found.frames_held());
        }
        Ok(())
    }

    /// Frames that the gateway holds back: packets alone tell latency only up to these.
    fn frames_held(&mut self) -> i64 {
        self.held.sort_unstable();
        self.held.get(self.held.len() / 2).copied().unwrap_or(0)
    }

    fn latency_ms(&self, share: f64) -> f64 {
        rounded(self.tally.latency.percentile_ms(share))
    }

    fn json(&mut self) -> Value {
        let lost = self.tally.sent as f64 - self.tally.received as f64;
        let held = self.frames_held();
        let codecs_ms = percentile(&mut self.delays_ms, 0.5) - frames_ns(held) as f64 / 1e6;
        let mut all = json!({
            "streams": self.streams,
            "silent": self.silent,
            "sent": self.tally.sent,
            "recv": self.tally.received,
            "packets": self.tally.packets,
            "loss_pct": percent(lost, self.tally.sent as f64),
            "sequence_gaps": self.tally.sequence_gaps,
            "duplicates": self.tally.duplicates,
            "reordered": self.tally.reordered,
            "altered": self.tally.altered,
            "lat_p50_ms": self.latency_ms(0.5),
            "lat_p99_ms": self.latency_ms(0.99),
            "lat_p999_ms": self.latency_ms(0.999),
            "lat_max_ms": self.latency_ms(1.0),
        });
        if !self.correlations.is_empty() {
            all["audio"] = json!({
                "checked": self.correlations.len(),
                "wrong": self.wrong,
                "correlation_min": rounded(percentile(&mut self.correlations, 0.0)),
                "correlation_p50": rounded(percentile(&mut self.correlations, 0.5)),
                "frames_held_min": self.held.first(),
                "frames_held_max": self.held.last(),
                "codec_delay_ms": rounded(codecs_ms),
            });
            all["mouth_to_ear_p50_ms"] = json!(rounded(self.latency_ms(0.5) + codecs_ms));
        }
        all
    }
}

/// The whole report.
pub(crate) fn report(
    spec: &Spec,
    endpoints: &[Endpoint],
    outcome: &Outcome,
    setup: &SetUp,
    pids: &[u32],
    is_real_time: bool,
) -> Result<Value> {
    let taken = outcome.taken;
    let mut directions = BTreeMap::<String, Direction>::new();
    for (at, here) in endpoints.iter().enumerate() {
        let Some(there) = here.peer.map(|peer| &endpoints[peer]) else { continue };
        let direction = directions.entry(format!("{}>{}", there.codec.name(), here.codec.name())).or_default();
        direction.streams += 1;
        direction.silent += usize::from(here.received == 0);
        if direction.streams == 1 {
            direction.tally = outcome.tallies[crate::run::direction(there.codec, here.codec)].clone();
        }
        direction.listen(at, here, there, spec)?;
    }
    let mut sum = Tally::default();
    for direction in directions.values_mut() {
        // What packets alone told is put right before anything is said of it.
        let held_ns = frames_ns(direction.frames_held()).unsigned_abs();
        direction.tally.latency = direction.tally.latency.later(held_ns);
        sum.add(&direction.tally);
    }
    let of = |count: fn(&Direction) -> usize| directions.values().map(count).sum::<usize>();
    let (silent, wrong) = (of(|direction| direction.silent), of(|direction| direction.wrong));
    let (checked, streams) = (of(|direction| direction.correlations.len()), of(|direction| direction.streams));
    let mut all = json!({
        "generator": "ringway-load",
        "endpoints": endpoints.len(),
        "window_s": rounded(taken.seconds()),
        "sent": sum.sent,
        "recv": sum.received,
        "packets": sum.packets,
        "loss_pct": percent(sum.sent as f64 - sum.received as f64, sum.sent as f64),
        "sequence_gaps": sum.sequence_gaps,
        "duplicates": sum.duplicates,
        "reordered": sum.reordered,
        "altered": sum.altered,
        "silent": silent,
        "audio_checked": checked,
        "audio_wrong": wrong,
        "lat_p50_ms": rounded(sum.latency.percentile_ms(0.5)),
        "lat_p99_ms": rounded(sum.latency.percentile_ms(0.99)),
        "lat_p999_ms": rounded(sum.latency.percentile_ms(0.999)),
        "lat_max_ms": rounded(sum.latency.max_ms()),
        "auth_fail": outcome.others.auth_failed,
        "rtcp": outcome.others.rtcp,
        "other": outcome.others.other,
        "gen_late_p99_ms": rounded(outcome.late.percentile_ms(0.99)),
        "gen_late_max_ms": rounded(outcome.late.max_ms()),
        "gen_cpu": rounded(taken.own_cores()),
        "gen_real_time": is_real_time,
        "gen_refused": outcome.others.refused,
        "stood_ms": rounded(taken.stood_ms),
        "stolen_ms": taken.stolen_ms,
    });
    all["dirs"] = directions.iter_mut().map(|(name, direction)| (name.clone(), direction.json())).collect();
    if !pids.is_empty() {
        let cores = taken.cpu_ns as f64 / 1e9 / taken.seconds();
        let packets = sum.packets as f64 / taken.seconds();
        let calls = streams as f64 / 2.0;
        all["peer_cpu_cores"] = json!(rounded(cores));
        all["cpu_ms_per_call_s"] = json!(rounded(cores * 1e3 / calls));
        all["cpu_us_per_packet"] = json!(rounded(cores * 1e6 / packets));
        all["cpu_seconds_per_stream_second"] = json!(cores / streams as f64);
        all["calls_per_core"] = json!(rounded(calls / cores));
        all["peer_sleeps_per_s"] = json!(rounded(taken.sleeps as f64 / taken.seconds()));
        all["peer_rss_kb"] = json!(outcome.rss_kb);
        all["peer_pss_kb"] = json!(outcome.pss_kb);
    }
    if setup.has_any() {
        all["setup"] = serde_json::to_value(setup)?;
        let ices: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint.ice.as_ref()).collect();
        let (asked, answered) = ices.iter().fold((0, 0), |sum, ice| (sum.0 + ice.asked, sum.1 + ice.answered));
        all["checks"] = json!({ "asked": asked, "answered": answered });
    }
    Ok(all)
}
