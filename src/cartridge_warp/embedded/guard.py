"""A small process that owns one server and outlives everybody but the server.

It is run by file name (``python -I -S guard.py SPEC``), never imported, and
uses the standard library alone. It starts the server as its own child, writes the
server's process id on stdout, and waits for its stdin to close. The kernel closes that
pipe when the process that holds the other end goes, however it goes (return, exception,
``os._exit``, SIGKILL), so the server never outlives the one who asked for it.

SPEC is a JSON object: ``command`` (list), ``log`` (file), ``stop`` (signal number),
``grace`` (seconds before SIGKILL), ``user`` and ``group`` (ids, or null), ``remove``
(directories to delete after a stop). A server that ends by itself ends the guard, and
deletes nothing. The exit code is the server's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading


def main() -> int:
    spec = json.loads(sys.argv[1])
    identity = {}
    if spec["user"] is not None:
        identity = {
            "user": spec["user"],
            "group": spec["group"],
            "extra_groups": [],
        }
    with open(spec["log"], "ab") as log:
        server = subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            **identity,
        )

    asked = threading.Event()

    def stop_when_alone() -> None:
        # Blocks until the other end of the pipe is closed. Not through sys.stdin, whose
        # lock the interpreter would want at its end.
        while os.read(0, 1024):
            pass
        asked.set()
        server.send_signal(spec["stop"])
        try:
            server.wait(spec["grace"])
        except subprocess.TimeoutExpired:
            server.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=stop_when_alone, daemon=True).start()
    try:
        os.write(1, f"{server.pid}\n".encode())
    except BrokenPipeError:
        # The one who asked is gone already; stdin is closed too, so the end is near.
        pass
    code = server.wait()
    for directory in spec["remove"] if asked.is_set() else ():
        shutil.rmtree(directory, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
