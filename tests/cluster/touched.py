"""What a command starts and writes, as seen by an audit hook of its interpreter."""

import os
import subprocess
import sys

WATCH = """
import os, sys

# The driver of the browser tests depends on it. anyio's pytest plugin imports it, and then it runs ldconfig.
sys.modules["trio"] = None
report = os.open(os.environ["WATCH_REPORT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "os.fork", "os.mkdir", "os.rename"}
STARTS |= {"socket.connect", "socket.bind", "os.symlink"}

def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if event in STARTS or writes and args[0] != os.devnull:
        os.write(report, f"{event} {args[:1]}\\n".encode())

sys.addaudithook(watch)
"""


def touched(folder, *command):
    (folder.root / "watch").mkdir(exist_ok=True)
    (folder.root / "watch/sitecustomize.py").write_text(WATCH)
    told = folder.root / "watch/report"
    environ = {
        **os.environ,
        "PYTHONPATH": str(folder.root / "watch"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WATCH_REPORT": str(told),
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NODELIST": "n[0-2]",
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder.root,
        env={name: value for name, value in environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return told.read_text().splitlines()
