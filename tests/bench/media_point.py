#!/usr/bin/env python3
"""One point of `script/bench --media`, or several that take turns: a gateway (or a floor) each on core 0, its load on core 1, all in the
real-time class; prints a JSON line for each. Called by media.py with the points as JSON; ../shared/peers-kit sets the calls up (SIP for
ours, ng for rtpengine).
"""
import json, os, re, subprocess, sys, time

from peers_installed import KIT, PEERS, ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(ROOT, "target", "bench", "work")
LOAD = os.path.join(ROOT, "target", "release", "ringway-load")
sys.path[:0] = [f"{KIT}/lib", f"{KIT}/rtpengine", f"{HERE}/gateway"]
import command, ng, peers, procs, sipcalls

PEER_CORE, LOAD_CORE = "0", "1"
RTPENGINE = ("127.0.7.2", 2223)
# Of gateway/ringway.toml, in the point's own net: who calls as a phone, and who calls as a browser.
CALLERS = {"rtp": 1, "dtls": 12, "webrtc": 12}


def pinned(core):
    return ["taskset", "-c", core, "chrt", "-r", "1"]


def identity():
    """The browsers' certificate and key, and its fingerprint."""
    crt, key = f"{WORK}/browser.crt", f"{WORK}/browser.key"
    if not os.path.exists(crt):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=browser", "-keyout", key, "-out", crt], check=True, capture_output=True)
    said = subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True)
    return crt, key, said.stdout.split("=")[1].strip()


class Calls(sipcalls.Calls):
    """The kit's, which keep no more of an answer than addresses and keys: this notes what it asks of who sends Opus (RFC 7587
    section 6.1), for the generator's browsers to heed as real ones do."""

    def on_a(self, message):
        answered = super().on_a(message)
        if answered:
            call = self.calls[int(sipcalls.hdr(message, "Call-ID").split("-")[1])]
            said = dict(re.findall(r"(\w+)=(\d+)", " ".join(re.findall(r"^a=fmtp:\d+ (.*minptime.*)\r$", message, re.M))))
            wish = dict(narrowband=said.get("maxplaybackrate") == "8000")
            if "maxaveragebitrate" in said:
                wish["bitrate"] = int(said["maxaveragebitrate"])
            if said.get("usedtx") == "1":
                wish["dtx"] = True
            call["opus"] = wish
        return answered

    def setup(self, *args, **named):
        spec, count = super().setup(*args, **named)
        wishes = {f"{self.aip}:{call['pa']}": call["opus"] for call in self.calls.values() if "opus" in call}
        for end in spec["endpoints"]:
            if end["codec"] == "opus":
                end["opus"] = wishes[end["local"]]
        return spec, count


class Ringway:
    def __init__(self, net):
        self.net = net
        self.address = (f"{net}.30", 5060)
        started = " ".join(command.fresh(f"{WORK}/gateway-{net}", net) + ["serve"])
        self.process, _ = peers.start("ringway", WORK, "", PEER_CORE, "1", started)
        answers = peers.wait_sip(self.address)
        time.sleep(0.5)
        # What answers may be another one that was left running.
        if not answers or self.process.poll() is not None:
            peers.stop(self.process)
            sys.exit(f"ringway does not answer; see {WORK}/ringway.log")

    def calls(self, mode, count, fingerprint, duration, warmup):
        self.sip = Calls(self.address, f"{self.net}.{CALLERS[mode]}", f"{self.net}.9")
        spec, _ = self.sip.setup(mode, count, fingerprint, duration, warmup, rate=200)
        return spec

    def pump(self):
        self.sip.pump(0.2)

    def stop(self):
        try:
            if hasattr(self, "sip"):
                self.sip.hangup()
        finally:
            peers.stop(self.process)


class Rtpengine:
    """The kit has it in one net alone."""

    def __init__(self):
        ip, port = RTPENGINE
        server = ["chroot", f"{PEERS}/sid", "rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr",
                   "--log-level=4", f"--interface={ip}", f"--listen-ng={ip}:{port}", "--port-min=20000", "--port-max=32000",
                   "--timeout=60", "--silent-timeout=60", "--num-threads=1"]
        log = open(f"{WORK}/rtpengine.log", "ab")
        self.process = subprocess.Popen(pinned(PEER_CORE) + server, stdout=log, stderr=log)
        self.ng = ng.Ng(RTPENGINE)
        for _ in range(40):
            try:
                self.ng.cmd(command="ping")
                return
            except (TimeoutError, OSError):
                time.sleep(0.2)
        self.stop()
        sys.exit(f"rtpengine does not answer; see {WORK}/rtpengine.log")

    def calls(self, mode, count, fingerprint, duration, warmup):
        return ng.setup_calls(self.ng, mode, count, fp=fingerprint, dur=duration, warm=warmup)[0]

    def pump(self):
        time.sleep(0.2)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Floor:
    """The bare forwarder: `floor-packet`, or `floor-paced` as our workers are."""

    def __init__(self, policy, net):
        self.policy, self.net = policy, net
        self.process = None

    def calls(self, mode, count, fingerprint, duration, warmup):
        local = lambda side, n: (10000 if side == 0 else 16000) + 2 * n
        ends = [dict(local=f"{self.net}.1:{local(s, n)}", remote=f"{self.net}.2:20000", codec="PCMU", pt=0, mark=True, peer=2 * n + 1 - s)
                for n in range(count) for s in (0, 1)]
        spec = dict(duration_s=duration, warmup_s=warmup, endpoints=ends)
        json.dump(spec, open(f"{WORK}/floor-{self.net}.json", "w"))
        floor = [LOAD, "forward", f"{WORK}/floor-{self.net}.json", "--policy", self.policy]
        self.process = subprocess.Popen(pinned(PEER_CORE) + floor, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        return spec

    def pump(self):
        time.sleep(0.2)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)


def start(name, net):
    if name == "ringway":
        return Ringway(net)
    return Rtpengine() if name == "rtpengine" else Floor(name.removeprefix("floor-"), net)


def cpu_ns(pid):
    return sum(int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0]) for t in os.listdir(f"/proc/{pid}/task"))


def idle(gateway, seconds=5):
    """What a gateway without calls costs."""
    before = cpu_ns(gateway.process.pid)
    time.sleep(seconds)
    return dict(cores=(cpu_ns(gateway.process.pid) - before) / 1e9 / seconds)


class Load:
    """The generator at one gateway, with its calls."""

    def __init__(self, gateway, p, turns):
        self.gateway, self.p = gateway, p
        crt, key, fingerprint = identity()
        self.before = 0 if gateway.process is None else procs.pss(procs.tree(gateway.process.pid))
        spec = gateway.calls(p["mode"], p["calls"], fingerprint, p.get("duration", 8), p.get("warmup", 2))
        self.got = len(spec["endpoints"]) // 2
        if self.got == 0:
            sys.exit(f"{p['peer']}: no calls were set up")
        spec.update({name: p[name] for name in ("talk", "seed", "audio_every", "interval_s", "record") if name in p})
        if "opus" in p:
            # Whatever was asked for: to compare.
            for end in spec["endpoints"]:
                end["opus"] = p["opus"]
        if p.get("media") is False:
            for end in spec["endpoints"]:
                end["peer"] = -2
        at, of = turns
        if of > 1:
            spec["turns"] = dict(at=at, of=of)
        self.files = f"{WORK}/generator-{at}"
        json.dump(spec, open(f"{self.files}.json", "w"))
        is_kits = p.get("generator") == "kit"
        generator = f"{PEERS}/work/rtpload" if is_kits else LOAD
        loading = pinned(LOAD_CORE) + [generator, f"{self.files}.json", f"{KIT}/media", "--cert", crt, "--key", key]
        loading += ["--rate", str(p.get("rate", 100))] + ([] if is_kits else ["--watch", PEER_CORE])
        for pid in procs.tree(gateway.process.pid):
            loading += ["--pid", str(pid)]
        with open(f"{self.files}.err", "w") as err, open(f"{self.files}.out", "w") as out:
            self.process = subprocess.Popen(loading, stdin=subprocess.PIPE, stdout=out, stderr=err)

    def lines(self):
        return [line for line in open(f"{self.files}.out").read().splitlines() if "ready" not in line]

    def is_ready(self):
        """Whether its calls have their keys, and it waits for its first turn."""
        return "ready" in open(f"{self.files}.out").read() or self.process.poll() is not None

    def go(self):
        if self.process.poll() is None:
            self.process.stdin.write(b"\n")
            self.process.stdin.close()

    def figures(self):
        lines = self.lines()
        if self.process.returncode or not lines:
            sys.exit(f"{self.p}: {open(f'{self.files}.err').read()}")
        figures = json.loads(lines[-1])
        if self.p.get("interval_s"):
            figures["intervals"] = [json.loads(line)["interval"] for line in lines[:-1]]
        return dict(got=self.got, pss_before_kb=self.before, **figures)


def load(gateways, points):
    loads, in_turns = [], len(points) > 1
    for at, (gateway, p) in enumerate(zip(gateways, points)):
        loads.append(Load(gateway, p, (at, len(points))))
        # One after the other: each has both cores to itself while it sets up.
        while in_turns and not loads[-1].is_ready():
            gateway.pump()
    if in_turns:
        for one in loads:
            one.go()
    while any(one.process.poll() is None for one in loads):
        for one in loads:
            one.gateway.pump()
    return [one.figures() for one in loads]


def main():
    points = json.loads(sys.argv[1])
    points = points if isinstance(points, list) else [points]
    os.makedirs(WORK, exist_ok=True)
    gateways = []
    try:
        for at, p in enumerate(points):
            # rtpengine's net is the first, the others' the next ones.
            gateways.append(start(p["peer"], f"127.0.{7 + at}"))
        figures = [idle(gateways[0])] if points[0].get("what") == "idle" else load(gateways, points)
    finally:
        for gateway in gateways:
            gateway.stop()
    for p, found in zip(points, figures):
        print(json.dumps({**found, **p, **({"turns": len(points)} if len(points) > 1 else {})}))


main()
