#!/usr/bin/env python3
"""One point of `script/bench --media`: a gateway (or a floor) on core 0, the load on core 1, both in the real-time class; prints a
JSON line. Called by media.py with the point as JSON; ../shared/peers-kit sets the calls up (SIP for ours, ng for rtpengine).
"""
import json, os, re, subprocess, sys, time

from peers_installed import KIT, PEERS, ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(ROOT, "target", "bench", "work")
LOAD = os.path.join(ROOT, "target", "release", "ringway-load")
sys.path[:0] = [f"{KIT}/lib", f"{KIT}/rtpengine", f"{HERE}/gateway"]
import command, ng, peers, procs, sipcalls

PEER_CORE, LOAD_CORE = "0", "1"
SIP, RTPENGINE = ("127.0.7.30", 5060), ("127.0.7.2", 2223)
CALLER = "127.0.7.1"
# Of gateway/ringway.toml: who calls as a phone, and who calls as a browser.
CALLERS = {"rtp": CALLER, "dtls": "127.0.7.12", "webrtc": "127.0.7.12"}


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
    def __init__(self):
        started = " ".join(command.fresh(f"{WORK}/gateway") + ["serve"])
        self.process, _ = peers.start("ringway", WORK, "", PEER_CORE, "1", started)
        answers = peers.wait_sip(SIP)
        time.sleep(0.5)
        # What answers may be another one that was left running.
        if not answers or self.process.poll() is not None:
            peers.stop(self.process)
            sys.exit(f"ringway does not answer; see {WORK}/ringway.log")

    def calls(self, mode, count, fingerprint, duration, warmup):
        self.sip = Calls(SIP, CALLERS[mode])
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

    def __init__(self, policy):
        self.policy = policy
        self.process = None

    def calls(self, mode, count, fingerprint, duration, warmup):
        local = lambda side, n: (10000 if side == 0 else 16000) + 2 * n
        ends = [dict(local=f"{CALLER}:{local(s, n)}", remote="127.0.7.2:20000", codec="PCMU", pt=0, mark=True, peer=2 * n + 1 - s)
                for n in range(count) for s in (0, 1)]
        spec = dict(duration_s=duration, warmup_s=warmup, endpoints=ends)
        json.dump(spec, open(f"{WORK}/floor.json", "w"))
        floor = [LOAD, "forward", f"{WORK}/floor.json", "--policy", self.policy]
        self.process = subprocess.Popen(pinned(PEER_CORE) + floor, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        return spec

    def pump(self):
        time.sleep(0.2)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)


def start(name):
    if name == "ringway":
        return Ringway()
    return Rtpengine() if name == "rtpengine" else Floor(name.removeprefix("floor-"))


def cpu_ns(pid):
    return sum(int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0]) for t in os.listdir(f"/proc/{pid}/task"))


def idle(gateway, seconds=5):
    """What a gateway without calls costs."""
    before = cpu_ns(gateway.process.pid)
    time.sleep(seconds)
    return dict(cores=(cpu_ns(gateway.process.pid) - before) / 1e9 / seconds)


def load(gateway, p):
    crt, key, fingerprint = identity()
    before = 0 if gateway.process is None else procs.pss(procs.tree(gateway.process.pid))
    spec = gateway.calls(p["mode"], p["calls"], fingerprint, p.get("duration", 8), p.get("warmup", 2))
    got = len(spec["endpoints"]) // 2
    if got == 0:
        sys.exit(f"{p['peer']}: no calls were set up")
    spec.update({name: p[name] for name in ("talk", "seed", "audio_every", "interval_s", "record") if name in p})
    if "opus" in p:
        # Whatever was asked for: to compare.
        for end in spec["endpoints"]:
            end["opus"] = p["opus"]
    if p.get("media") is False:
        for end in spec["endpoints"]:
            end["peer"] = -2
    json.dump(spec, open(f"{WORK}/spec.json", "w"))
    is_kits = p.get("generator") == "kit"
    generator = f"{PEERS}/work/rtpload" if is_kits else LOAD
    loading = pinned(LOAD_CORE) + [generator, f"{WORK}/spec.json", f"{KIT}/media", "--cert", crt, "--key", key]
    loading += ["--rate", str(p.get("rate", 100))] + ([] if is_kits else ["--watch", PEER_CORE])
    for pid in procs.tree(gateway.process.pid):
        loading += ["--pid", str(pid)]
    with open(f"{WORK}/generator.err", "w") as err, open(f"{WORK}/generator.out", "w") as out:
        generator = subprocess.Popen(loading, stdout=out, stderr=err)
        while generator.poll() is None:
            gateway.pump()
    lines = open(f"{WORK}/generator.out").read().splitlines()
    if generator.returncode or not lines:
        sys.exit(f"{p}: {open(f'{WORK}/generator.err').read()}")
    figures = json.loads(lines[-1])
    if p.get("interval_s"):
        figures["intervals"] = [json.loads(line)["interval"] for line in lines[:-1]]
    return dict(got=got, pss_before_kb=before, **figures)


def main():
    p = json.loads(sys.argv[1])
    os.makedirs(WORK, exist_ok=True)
    gateway = start(p["peer"])
    try:
        figures = idle(gateway) if p.get("what") == "idle" else load(gateway, p)
    finally:
        gateway.stop()
    print(json.dumps({**figures, **p}))


main()
