"""The programs that we are measured beside, from ../shared/peers-kit, in a Debian sid of their own in target/peers."""
import os, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KIT = os.path.join(ROOT, "..", "shared", "peers-kit")
PEERS = os.path.join(ROOT, "target", "peers")
if not os.path.isfile(f"{KIT}/setup.sh"):
    sys.exit("../shared/peers-kit is missing beside the project: it brings the peers, the speech and the load")


def prepare():
    """Installs them unless they are there, and mounts what they need (a machine that was restarted has it no more)."""
    if os.geteuid() != 0:
        sys.exit("this bench needs root: the real-time class, a core for each side, a chroot for the others")
    is_installed = os.path.isfile(f"{PEERS}/sid/usr/bin/rtpengine") and os.path.isfile(f"{PEERS}/work/rtpload")
    is_mounted = os.path.exists(f"{PEERS}/sid/proc/self") and os.path.isdir(f"{PEERS}/sid/bench/work")
    if is_installed and is_mounted:
        return
    print("preparing the other programs in target/peers (some 4 minutes for the first time) …", file=sys.stderr)
    os.makedirs(PEERS, exist_ok=True)
    subprocess.run(["bash", f"{KIT}/setup.sh", PEERS], check=True, stdout=subprocess.DEVNULL)
