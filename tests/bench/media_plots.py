"""Plots of a run's lines: CPU against calls, and a soak over time."""
import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot


def by_calls(lines, out, name, title, unit, figure, series, floors=()):
    _, axes = pyplot.subplots(figsize=(7, 4.5))
    for label, wanted in series:
        points = [(calls, lines.median(figure, calls=calls, **wanted)) for calls in lines.counts(**wanted)]
        if points:
            axes.plot(*zip(*points), marker="o", label=label)
    for label, value in floors:
        if value:
            axes.axhline(value, linestyle=":", color="grey", label=label)
    axes.set(title=title, xlabel="calls", ylabel=unit)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
        pyplot.savefig(f"{out}/{name}.svg", bbox_inches="tight")
    pyplot.close()


def soak(run, out):
    steps = run["intervals"]
    _, axes = pyplot.subplots(4, 1, sharex=True, figsize=(8, 8))
    at = [step["at_s"] / 60 for step in steps]
    for row, (names, unit) in zip(axes, [(("pss_kb", "rss_kb"), "kB"), (("lat_p50_ms", "lat_p99_ms", "lat_max_ms"), "ms"),
                                         (("peer_cpu_cores",), "cores"), (("gaps",), "lost")]):
        for name in names:
            row.plot(at, [step[name] for step in steps], label=name)
        row.set_ylabel(unit)
        row.set_ylim(bottom=0)
        row.legend(loc="upper right", fontsize="small")
    axes[0].set_title(f"{run['mode']}, {run['got']} calls")
    axes[-1].set_xlabel("minutes")
    pyplot.savefig(f"{out}/soak-{run['mode']}.svg", bbox_inches="tight")
    pyplot.close()


def plot(lines, out):
    peers = ("ringway", "rtpengine", "floor-paced")
    for mode, title in (("rtp", "G.711 relay"), ("dtls", "G.711 DTLS-SRTP <-> RTP")):
        by_calls(lines, out, f"cpu-{mode}", title, "CPU, µs a packet", "cpu_us_per_packet",
                 [(peer, dict(what="load", mode=mode, peer=peer)) for peer in peers])
    floors = [(f"libopus, {talk}", (lines.median("pair_us", what="opus", talk=talk) or 0) * 50 / 1000) for talk in ("always", "turns")]
    by_calls(lines, out, "cpu-webrtc", "Opus DTLS-SRTP <-> G.711 RTP", "CPU-ms a call-second", "cpu_ms_per_call_s",
             [(f"{peer}, {talk}", dict(what="load", mode="webrtc", peer=peer, talk=talk)) for peer in peers for talk in ("always", "turns")], floors)
    for run in lines.of(what="soak"):
        soak(run, out)
