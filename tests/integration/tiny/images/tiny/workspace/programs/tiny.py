# ruff: noqa: T201
"""The apps of the tests' framework; it runs in an environment of its own, with what its lock has."""

import os
import signal
import sys
import time
from pathlib import Path


def serve():
    import bottle

    @bottle.get("/")
    def see():
        key = os.environ.get("TINY_KEY")
        if key and bottle.request.headers.get("Authorization") != f"Bearer {key}":
            raise bottle.HTTPError(401)
        return {
            "pid": os.getpid(),
            "uid": os.getuid(),
            "cwd": str(Path.cwd()),
            "python": sys.prefix,
            "args": sys.argv[2:],
            "env": dict(os.environ),
        }

    print("serving", flush=True)
    bottle.run(host=os.environ["TINY_HOST"], port=int(os.environ["TINY_PORT"]), quiet=True)


def die():
    print("loading", flush=True)
    time.sleep(0.1)
    sys.exit("the model file is broken")


def job():
    import docopt

    print(f"docopt {docopt.__version__}", flush=True)
    time.sleep(0.1)  # an engine keeps the order of lines in one stream alone
    print("to stderr", file=sys.stderr, flush=True)
    for line in range(int(os.environ.get("TINY_LINES", "0"))):
        print(f"line {line}", flush=True)
    Path("saves/result.txt").write_text("done\n")
    sys.exit(int(sys.argv[2]) if sys.argv[2:] else 3)


def sleep():
    if "stubborn" in sys.argv:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    _write("saves/pid")
    print("asleep", flush=True)
    while True:
        time.sleep(60)


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _write("saves/worker")
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not Path("saves/worker").exists():
        time.sleep(0.01)
    sleep()


def ask():
    name = input("your name? ")
    print(f"hello {name}, terminal: {sys.stdin.isatty()}")
    sys.exit(4)


def _write(path):
    staging = Path(f"{path}.new")
    staging.write_text(str(os.getpid()))
    staging.replace(path)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
