#!/usr/bin/env python3
"""The table of `script/bench --media` and its plots, of a run's lines alone: media_table.py LINES OUT."""
import json, math, statistics, sys

import media_plots, media_quality
from media_bounds import is_clean, is_figure

# The bare loop that works as the gateway does.
POLICY = "floor-paced"


class Lines:
    def __init__(self, path):
        self.all = [json.loads(line) for line in open(path)]

    def of(self, **wanted):
        wanted = {name: value for name, value in wanted.items() if value is not None}
        default = {"talk": "always"}
        return [line for line in self.all if all(line.get(name, default.get(name)) == value for name, value in wanted.items())]

    def median(self, figure, **wanted):
        values = [line[figure] for line in self.of(**wanted) if line.get(figure) is not None and is_figure(line)]
        return statistics.median(values) if values else None

    def ratio(self, figure, above, below, **both):
        """Of what takes turns, the median of each round's own ratio; else that of the medians."""
        a, b = self.of(**both, **above), self.of(**both, **below)
        if len(a) == len(b) and all("turns" in line for line in a + b):
            rounds = [x[figure] / y[figure] for x, y in zip(a, b) if is_figure(x) and is_figure(y)]
            return statistics.median(rounds) if rounds else None
        return ratio(self.median(figure, **both, **above), self.median(figure, **both, **below))

    def counts(self, **wanted):
        return sorted({line["calls"] for line in self.of(**wanted)})


def shown(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def ratio(a, b):
    return None if not a or not b else a / b


def verdict(*checks):
    """Each a value and what it must not exceed; nothing is said of what was not measured."""
    known = [value <= bound for value, bound in checks if value is not None]
    return "-" if not known else "yes" if all(known) else "**no**"


def relay(lines, mode, name, floor):
    for calls in lines.counts(what="load", mode=mode, peer="ringway"):
        point = dict(figure="cpu_us_per_packet", what="load", mode=mode, calls=calls)
        ours, theirs, bare = [lines.median(**point, peer=peer) for peer in ("ringway", "rtpengine", POLICY)]
        to = lambda peer: lines.ratio(**point, above=dict(peer="ringway"), below=dict(peer=peer))
        a, b = to("rtpengine"), to(POLICY) if floor else None
        target = "≤ 0.5 x rtpengine" + (", ≤ 1.15 x floor" if floor else "")
        yield [f"{name}, {calls} calls, µs a packet", target, shown(ours), shown(theirs), shown(bare), shown(a), shown(b),
               verdict((a, 0.5), (b, 1.15))]


def transcoding(lines):
    ms = lambda peer, talk, calls: lines.median("cpu_ms_per_call_s", what="load", mode="webrtc", peer=peer, talk=talk, calls=calls)
    floor = lambda talk: (lambda us: us and us * 50 / 1000)(lines.median("pair_us", what="opus", talk=talk))
    for calls in lines.counts(what="load", mode="webrtc", peer="ringway"):
        ours, theirs, bare = ms("ringway", "always", calls), ms("rtpengine", "always", calls), floor("always")
        to = lambda **other: lines.ratio("cpu_ms_per_call_s", what="load", mode="webrtc", calls=calls, **other)
        a, b = to(talk="always", above=dict(peer="ringway"), below=dict(peer="rtpengine")), ratio(ours, bare)
        yield [f"Opus DTLS-SRTP <-> G.711, both speak, {calls} calls, CPU-ms a call-second", "≤ 0.4 x rtpengine, ≤ 1.15 x libopus",
               shown(ours), shown(theirs), shown(bare), shown(a), shown(b), verdict((a, 0.4), (b, 1.15))]
        turns, theirs, bare = ms("ringway", "turns", calls), ms("rtpengine", "turns", calls), floor("turns")
        c = to(peer="ringway", above=dict(talk="turns"), below=dict(talk="always"))
        yield [f"the same, one at a time, {calls} calls", f"≤ 0.65 x the row above (is {shown(c)})", shown(turns), shown(theirs), shown(bare),
               shown(ratio(turns, theirs)), shown(ratio(turns, bare)), verdict((c, 0.65))]


def capacity(lines):
    rows = [("rtp", "always", "G.711 relay", 800), ("dtls", "always", "G.711 DTLS-SRTP <-> RTP", 700),
            ("webrtc", "always", "Opus <-> G.711, both speak", 150), ("webrtc", "turns", "Opus <-> G.711, one at a time", 300)]
    for mode, talk, name, target in rows:
        most = lambda peer: max((l["got"] for l in lines.of(mode=mode, talk=talk, peer=peer)
                                 if l["what"] != "setup" and is_clean(l)), default=None)
        if not lines.of(what="capacity", mode=mode, talk=talk):
            continue
        ours, theirs = most("ringway"), most("rtpengine")
        yield [f"{name}: calls a core (loss < 1 %, p99 < 20 ms)", f"over {target}", shown(ours, 0), shown(theirs, 0), "-",
               shown(ratio(ours, theirs)), "-", verdict((ours and target - ours, -1))]


def latency(lines):
    for mode, name, bounds in [("rtp", "relay", (0.6, 2)), ("webrtc", "transcode", (None, 3))]:
        runs = lines.of(what="latency", mode=mode, peer="ringway")
        floor = [run["lat_p99_ms"] for run in lines.of(what="latency", mode=mode, peer="floor-paced")]
        if runs:
            p50, p99 = [[run[f"lat_{p}_ms"] for run in runs] for p in ("p50", "p99")]
            share = statistics.median(run["peer_cpu_cores"] for run in runs)
            target = f"at 70 %: p99 < {bounds[1]} ms" + (f", p50 < {bounds[0]} ms" if bounds[0] else "")
            yield [f"added latency, {name}, {runs[0]['got']} calls = {share:.0%} of a core, ms: "
                   f"p50 and p99 of {len(runs)} runs", target, " ".join(map(shown, p50)) + "; " + " ".join(map(shown, p99)), "-",
                   "p99 " + " ".join(map(shown, floor)) if floor else "-", "-",
                   shown(ratio(statistics.median(p99), statistics.median(floor)) if floor else None),
                   verdict((max(p99), bounds[1]), (max(p50), bounds[0] or 1e9), (0.68, share))]


def memory(lines):
    for mode, name, target in [("rtp", "relay", 12), ("webrtc", "transcode (libopus's own state of some 50 KB included)", 62)]:
        def slope(peer):
            counts = lines.counts(what="load", mode=mode, peer=peer, talk="always")
            if len(counts) < 2:
                return None
            kb = lambda calls: lines.median("peer_pss_kb", what="load", mode=mode, peer=peer, calls=calls, talk="always")
            if peer == "rtpengine":
                # Its processes are measured alike: RSS is what both generators know of.
                kb = lambda calls: lines.median("peer_rss_kb", what="load", mode=mode, peer=peer, calls=calls, talk="always")
            return (kb(counts[-1]) - kb(counts[0])) / (counts[-1] - counts[0])
        ours, theirs = slope("ringway"), slope("rtpengine")
        if ours is not None:
            yield [f"memory a call, {name}, KiB", f"under {target}", shown(ours, 1), shown(theirs, 1), "-", shown(ratio(ours, theirs)), "-",
                   verdict((ours, target))]


def setting_up(lines):
    figure = lambda name, peer, **wanted: (lambda all: statistics.median(all) if all else None)(
        [line["setup"][name] for line in lines.of(peer=peer, mode="dtls", **wanted) if "setup" in line])
    calls = max(lines.counts(what="setup", peer="ringway"), default=None)
    paced = max(lines.counts(what="load", peer="ringway", mode="dtls"), default=None)
    for what, at, name in [("load", paced, "100 a second"), ("setup", calls, "all at once")]:
        if at:
            cost = lambda peer: figure("peer_cpu_ms_per_endpoint", peer, what=what, calls=at)
            a = ratio(cost("ringway"), cost("rtpengine"))
            yield [f"ICE + DTLS, {at} legs, {name}, CPU-ms a leg", "under 0.6", shown(cost("ringway")), shown(cost("rtpengine")), "-", shown(a),
                   "-", verdict((cost("ringway"), 0.6))]
    if calls:
        wall, failed = figure("wall_ms", "ringway", what="setup", calls=calls), figure("failed", "ringway", what="setup", calls=calls)
        own = figure("gen_cpu_ms_per_endpoint", "ringway", what="setup", calls=calls)
        yield [f"ICE + DTLS, {calls} at once: ms until all have keys, failed (generator: {shown(own)} CPU-ms a leg)", "under 2000, 0",
               f"{shown(wall, 0)}, {shown(failed, 0)}", f"{shown(figure('wall_ms', 'rtpengine', what='setup'), 0)}, "
               f"{shown(figure('failed', 'rtpengine', what='setup'), 0)}", "-", "-", "-", verdict((wall, 2000), (failed, 0))]


def growth(lines):
    counts = lines.counts(what="growth")
    if counts:
        costs = [lines.median("cpu_ms_per_call_s", what="growth", calls=calls) for calls in counts]
        rises = [lines.ratio("cpu_ms_per_call_s", what="growth", above=dict(calls=more), below=dict(calls=calls))
                 for calls, more in zip(counts, counts[1:])]
        yield ["relay, CPU-ms a call-second at " + ", ".join(map(str, counts)) + " calls", "never rises",
               ", ".join(shown(cost, 3) for cost in costs), "-", "-", "-", "-",
               # What is no figure has not been seen not to rise.
               verdict(*((math.inf if rise is None else rise, 1.0) for rise in rises))]
    cores = lines.median("cores", what="idle")
    if cores is not None:
        yield ["idle, cores", "asleep (< 0.001)", shown(cores, 5), "-", "-", "-", "-", verdict((cores, 0.001))]


def quality(lines, out):
    scores = {peer: media_quality.pesq_of(f"{out}/work/{peer}") for peer in ("ringway", "rtpengine") if lines.of(what="quality", peer=peer)}
    for at, way in enumerate(("phone to browser", "browser to phone")):
        ours, theirs = [(scores.get(peer) or [None, None])[at] for peer in ("ringway", "rtpengine")]
        if ours is not None:
            yield [f"PESQ, {way}", "no worse than rtpengine", shown(ours), shown(theirs), "-", "-", "-",
                   verdict((theirs and theirs - ours, 0.02))]


def generators(lines):
    """The two generators' figures of the same gateway and spec."""
    runs = sorted({(l["peer"], l["mode"], l["calls"]) for l in lines.of(what="generator")})
    if runs:
        yield "| gateway | mode | calls | figure | ours | the kit's | ours / the kit's |\n|---|---|---|---|---|---|---|"
    for peer, mode, calls in runs:
        for name in ("cpu_us_per_packet", "lat_p50_ms", "lat_p99_ms", "loss_pct", "gen_cpu", "gen_late_p99_ms"):
            a, b = [lines.median(name, what="generator", peer=peer, mode=mode, calls=calls, generator=g) for g in ("ours", "kit")]
            yield f"| {peer} | {mode} | {calls} | {name} | {shown(a, 3)} | {shown(b, 3)} | {shown(ratio(a, b))} |"


def soak(lines):
    for run in lines.of(what="soak"):
        steps = run["intervals"]
        tenth = max(1, len(steps) // 10)
        first, last = steps[tenth:2 * tenth], steps[-tenth:]
        mean = lambda steps, name: statistics.mean(step[name] for step in steps)
        yield (f"\nSoak, {run['mode']}, {run['got']} calls, {steps[-1]['at_s'] / 60:.1f} minutes at {run['peer_cpu_cores']:.0%} of a core: "
               f"{run['sent']} sent, {run['sent'] - run['recv']} lost, {run['sequence_gaps']} gaps; PSS {mean(first, 'pss_kb'):.0f} -> "
               f"{mean(last, 'pss_kb'):.0f} kB, p99 {mean(first, 'lat_p99_ms'):.2f} -> {mean(last, 'lat_p99_ms'):.2f} ms, "
               f"worst {run['lat_max_ms']:.1f} ms, audio wrong {run['audio_wrong']}")


def late(lines):
    bad = [l for l in lines.all if not is_figure(l)]
    if bad:
        yield f"\n{len(bad)} points in which the generator itself was late or full are no figures: " + ", ".join(
            f"{l['peer']} {l['mode']} {l['calls']} ({l['gen_cpu']:.2f} cores, {l['gen_late_p99_ms']:.1f} ms)" for l in bad)


def main():
    lines, out = Lines(sys.argv[1]), sys.argv[2]
    rows = [row for part in (relay(lines, "rtp", "G.711 relay", True), relay(lines, "dtls", "G.711 DTLS-SRTP <-> RTP", False), transcoding(lines),
                             capacity(lines), latency(lines), memory(lines), setting_up(lines), growth(lines), quality(lines, out)) for row in part]
    if rows:
        print("| work | target | reached | rtpengine | floor | / rtpengine | / floor | passes |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    for line in [*generators(lines), *soak(lines), *late(lines)]:
        print(line)
    media_plots.plot(lines, out)


main()
