#!/usr/bin/env python3
"""What a call and a REGISTER cost in signalling, beside Kamailio and Asterisk, in one run: `script/bench --signalling`.

Needs root, Linux and ../shared/peers-kit beside the project, whose load (sipp -> peer -> sipp) and whose reckoning (CPU time of
the peer's processes by the kernel's count, each peer on a core of its own) are used; its peers are installed into
target/peers with the first run (some 4 minutes, Debian sid in a directory). Prints a table; each line is one point, so only
lines of one run compare, and of them those of one rate.
"""
import csv, json, os, subprocess, sys, time

import peers_installed
from peers_installed import KIT, PEERS as WORK

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS = "127.0.7.30:5060"
USERS, PASSWORD = 200, "correct-horse-battery"
sys.path[:0] = [f"{KIT}/lib", f"{HERE}/gateway"]
import command, peers, procs


def ours():
    return command.fresh(f"{WORK}/gateway")


def kit(peer, what, rate, secs, hold_ms=0):
    bench = [sys.executable, f"{KIT}/signalling/bench.py", f"{WORK}/work", peer, "--what", what, "--rate", str(rate)]
    bench += ["--secs", str(secs), "--hold", str(hold_ms)]
    if peer == "ringway":
        bench[3] = "other"
        bench += ["--addr", ADDRESS, "--extra", " ".join(ours() + ["serve"])]
    else:
        bench += ["--root", f"{WORK}/sid"]
    done = subprocess.run(bench, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"failed": done.stderr.strip().splitlines()[-1:]}


def register(rate, secs):
    """As the kit does it, with passwords that the gateway takes."""
    gateway, work = ours(), f"{WORK}/work"
    for user in range(1, USERS + 1):
        subprocess.run(gateway + ["user", "add", f"u{user}", "--password-stdin"], input=f"{PASSWORD}\n", text=True, check=True,
                       stdout=subprocess.DEVNULL)
    with open(f"{work}/ours.csv", "w") as file:
        keyword = "[authentication username=u%d password=%s]"
        file.write("SEQUENTIAL\n" + "".join(f"u{n};{keyword % (n, PASSWORD)}\n" for n in range(1, USERS + 1)))
    process, _ = peers.start("ringway", work, "", "0", "1", " ".join(gateway + ["serve"]))
    try:
        host, port = ADDRESS.split(":")
        peers.wait_sip((host, int(port)))
        time.sleep(1)
        stats = f"{work}/ours-register.csv"
        if os.path.exists(stats):
            os.unlink(stats)
        count, before = int(rate * secs), procs.cpu(procs.tree(process.pid))
        sipp = ["taskset", "-c", "1", "chrt", "-r", "1", "sipp", ADDRESS, "-sf", f"{KIT}/signalling/reg.xml", "-inf",
                f"{work}/ours.csv", "-i", "127.0.7.6", "-p", "5061", "-r", str(rate), "-m", str(count), "-l", str(count),
                "-recv_timeout", "8000", "-buff_size", "4000000", "-nostdin", "-trace_stat", "-stf", stats, "-fd", "1"]
        subprocess.run(sipp, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=secs * 3 + 60)
        after = procs.cpu(procs.tree(process.pid))
        rows = list(csv.reader(open(stats), delimiter=";"))
        last = dict(zip(rows[0], rows[-1]))
        ok = int(last["SuccessfulCall(C)"])
        return {"ok": ok, "failed": int(last["FailedCall(C)"]), "cpu_ms_per_call": round((after - before) * 1000 / max(ok, 1), 4)}
    finally:
        peers.stop(process)


def main():
    peers_installed.prepare()
    os.makedirs(f"{WORK}/work", exist_ok=True)
    points = [
        ("call, CPU-ms", "call", [("kamailio", 500), ("ringway", 500), ("kamailio", 2000), ("ringway", 2000), ("asterisk", 100)]),
        ("REGISTER with digest, CPU-ms", "register", [("kamailio", 1000), ("ringway", 1000), ("asterisk", 400)]),
        ("held call, kB", "hold", [("kamailio", 600), ("ringway", 600), ("asterisk", 50)]),
    ]
    print("| what | peer | a second | figure | done | failed |\n|---|---|---|---|---|---|")
    for title, what, runs in points:
        for peer, rate in runs:
            if what == "register" and peer == "ringway":
                point = register(rate, 5)
            else:
                point = kit(peer, what, rate, 5, 8000 if what == "hold" else 0)
            figure = point.get("kb_per_held_call" if what == "hold" else "cpu_ms_per_call", "-")
            print(f"| {title} | {peer} | {rate} | {figure} | {point.get('ok', 0)} | {point.get('failed', '?')} |", flush=True)


main()
