"""Let the variables ATOM_LOG_LEVEL, ATOM_UVICORN_LOG_LEVEL and ATOM_UVICORN_ACCESS_LOG decide what ATOM logs.

ATOM sets the level of its console handler in its code, and versions without `--disable-uvicorn-access-log` start
uvicorn with its access log. This script edits the installed package, and then proves the effect: at
ATOM_LOG_LEVEL=WARNING an INFO is absent and a WARNING appears exactly once, in a process and in a spawned worker.

Run it in the container before the server (`setup`). It needs nothing but Python, may run again, and ends with status 1
if the package has another shape than it knows.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HANDLER = "console_handler.setLevel(logging.INFO)"
QUIET_HANDLER = (
    'console_handler.setLevel(__import__("os").environ.get("ATOM_LOG_LEVEL", "INFO").upper())'
    "; logger.propagate = False"
)
SERVER = "uvicorn.run(app, host=args.host, port=args.server_port"
QUIET_SERVER = (
    SERVER + ', access_log=__import__("os").environ.get("ATOM_UVICORN_ACCESS_LOG", "1") != "0"'
    ', log_level=__import__("os").environ.get("ATOM_UVICORN_LOG_LEVEL", "info")'
)
FLAG = "--disable-uvicorn-access-log"

PROBE = """
import logging, multiprocessing, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="PROPAGATED %(message)s")
import atom
def log(where):
    logging.getLogger("atom").info("INFO from " + where)
    logging.getLogger("atom").warning("WARNING from " + where)
if __name__ == "__main__":
    log("the process")
    worker = multiprocessing.get_context("spawn").Process(target=log, args=("a worker",))
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""


def main():
    spec = importlib.util.find_spec("atom")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("quiet_atom: no package `atom` is installed")
    package = Path(next(iter(spec.submodule_search_locations)))
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    edit(sources, HANDLER, QUIET_HANDLER)
    if not any(FLAG in text for text in sources.values()):
        edit(sources, SERVER, QUIET_SERVER)
        prove_access_log(sources)
    prove_levels()


def edit(sources, old, new):
    """Replace the one place that holds `old`. Does nothing if it holds `new` already."""
    if any(new in text for text in sources.values()):
        return
    places = [path for path, text in sources.items() if old in text]
    if len(places) != 1 or sources[places[0]].count(old) != 1:
        sys.exit(
            f"quiet_atom: expected {old!r} once in the package, found it in {[str(path) for path in places]}"
        )
    (path,) = places
    sources[path] = sources[path].replace(old, new)
    path.write_text(sources[path], encoding="utf-8")


def prove_access_log(sources):
    """The edited call must turn the access log off for ATOM_UVICORN_ACCESS_LOG=0."""
    (text,) = [text for text in sources.values() if QUIET_SERVER in text]
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    values = [word.value for call in calls for word in call.keywords if word.arg == "access_log"]
    environment = {**os.environ, "ATOM_UVICORN_ACCESS_LOG": "0"}
    program = f"print({ast.unparse(values[0])})" if len(values) == 1 else ""
    if run(program, environment) != "False\n":
        sys.exit("quiet_atom: the access log stays on")


def prove_levels():
    """An INFO must be absent and a WARNING appear exactly once, in a process and in a spawned worker."""
    probe = Path("quiet_atom_probe.py").resolve()
    probe.write_text(PROBE, encoding="utf-8")
    try:
        output = run(None, {**os.environ, "ATOM_LOG_LEVEL": "WARNING"}, str(probe))
    finally:
        probe.unlink()
    for where in ("the process", "a worker"):
        found = {level: output.count(f"{level} from {where}") for level in ("INFO", "WARNING")}
        if found != {"INFO": 0, "WARNING": 1} or "PROPAGATED" in output:
            sys.exit(
                f"quiet_atom: the edit has not the effect that it should have in {where}: {found}\n{output}"
            )


def run(program, environment, *words):
    """Standard output and error of a Python program."""
    words = words or ("-c", program)
    done = subprocess.run(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"quiet_atom: the probe failed: {done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    main()
