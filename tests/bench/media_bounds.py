"""What counts: when a point is a figure at all, and when a gateway bore what it was given."""

# Milliseconds (p99) that the generator may be late.
LATE = 5


def is_figure(line):
    """The generator itself was in time and had room; else the point says nothing of the gateway."""
    return line.get("gen_cpu", 0) <= 0.9 and line.get("gen_late_p99_ms", 0) <= LATE


def is_clean(line):
    """The issue's bound of capacity: loss under 1 %, p99 under 20 ms; and the audio was what was sent."""
    return line["loss_pct"] < 1 and line["lat_p99_ms"] < 20 and not line.get("audio_wrong") and not line.get("altered") and is_figure(line)
