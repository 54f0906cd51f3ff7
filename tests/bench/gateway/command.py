"""How a gateway of this folder's configuration is started."""
import os, shutil

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


def fresh(data, net="127.0.7"):
    """The command line, without `serve`, of a gateway with nothing in it yet, whose directory is `data` and whose net is this one."""
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    for name in ("ringway.toml", "dialplan.toml"):
        text = open(f"{HERE}/{name}").read().replace("DATA", data).replace("127.0.7", net)
        open(f"{data}/{name}", "w").write(text)
    return [f"{ROOT}/target/release/ringway", "--config", f"{data}/ringway.toml"]
