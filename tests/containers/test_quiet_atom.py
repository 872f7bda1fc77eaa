"""The example that makes ATOM quiet: its edit, its proof, and the log of a whole run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.log_classes import class_of, count
from pytest_bench.endpoints.headers import NO_HEADERS
from pytest_bench.running.quiet import prove_quiet
from pytest_bench.suite.container_plan import Canary, LogPlan, Mount

SCRIPT = Path(__file__).parents[2] / "examples" / "quiet_atom.py"
FAKE = Path(__file__).parent / "fake_atom"
CALL = "uvicorn.run(app, host=args.host, port=args.server_port"
OPTION = 'parser.add_argument("--disable-uvicorn-access-log", action="store_true")\n    args ='


@pytest.fixture
def installed(tmp_path):
    """A function that writes a package of the shape of ATOM's, and returns the folder that holds it."""

    def write(*, flag=False, handler="console_handler.setLevel(logging.INFO)"):
        folder = tmp_path / "site"
        (folder / "atom").mkdir(parents=True)
        server = (FAKE / "atom_server.py").read_text()
        if flag:
            server = server.replace("args =", OPTION).replace(
                f"{CALL})", f"{CALL}, access_log=not args.disable_uvicorn_access_log)"
            )
        log = (FAKE / "atom_log.py").read_text().replace("console_handler.setLevel(logging.INFO)", handler)
        (folder / "atom" / "__init__.py").write_text("from atom.log import logger\n")
        (folder / "atom" / "log.py").write_text(log)
        (folder / "atom" / "server.py").write_text(server)
        (folder / "uvicorn.py").write_text((FAKE / "fake_uvicorn.py").read_text())
        return folder

    return write


def edited(folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, SCRIPT], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def sources(folder):
    return {path.name: path.read_text() for path in (folder / "atom").glob("*.py")}


@pytest.mark.parametrize("flag", [False, True], ids=["two anchors", "flag"])
def test_both_shapes_are_edited_once_with_a_proven_effect(installed, flag):
    folder = installed(flag=flag)
    before = sources(folder)
    done = edited(folder)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    after = sources(folder)
    assert {name for name in before if before[name] != after[name]} == (
        {"log.py"} if flag else {"log.py", "server.py"}
    )
    assert edited(folder).returncode == 0
    assert sources(folder) == after


@pytest.mark.parametrize(
    "handler",
    [
        "console_handler.setLevel(LEVEL)",
        "console_handler.setLevel(logging.INFO); console_handler.setLevel(logging.INFO)",
    ],
)
def test_an_unexpected_shape_is_refused_and_left_as_it_is(installed, handler):
    folder = installed(handler=handler)
    before = sources(folder)
    done = edited(folder)
    assert done.returncode == 1
    assert "expected 'console_handler.setLevel(logging.INFO)' once" in done.stderr
    assert sources(folder) == before


def test_an_edit_without_effect_is_refused(installed):
    folder = installed()
    with (folder / "atom" / "log.py").open("a") as log:
        log.write("logger.addHandler(logging.StreamHandler())\n")
    done = edited(folder)
    assert done.returncode == 1
    assert "has not the effect that it should have" in done.stderr


QUIET = {
    "ATOM_LOG_LEVEL": "WARNING",
    "ATOM_UVICORN_LOG_LEVEL": "warning",
    "ATOM_UVICORN_ACCESS_LOG": "0",
    "ATOMESH_LOG_LEVEL": "warn",
}


@pytest.fixture
def atom(start, installed):
    """A function that starts the fake ATOM in a container."""

    def started(environment, **fields):
        mounts = (
            Mount(target="/site", source=str(installed())),
            Mount(target="/quiet_atom.py", source=str(SCRIPT), read_only=True),
        )
        return start(
            entrypoint=("python3", "-m", "atom.server"),
            environment={"PYTHONPATH": "/site", **environment},
            mounts=mounts,
            setup=(("python3", "/quiet_atom.py"),),
            **fields,
        )

    return started


def test_the_log_of_the_run_shrinks_to_what_matters_and_no_warning_is_lost(atom, tmp_path):
    canary = Canary(path="/v1/any", body={}, pattern="unknown field")
    log = LogPlan(engine="atom", controls=QUIET, silenced=("access", "info"), canary=canary)
    with atom(QUIET, log=log) as container:
        start = container.settle_log()
        prove_quiet({"": container}, container.url, NO_HEADERS, None)
        assert container.proof.warnings_proven
        found = count(container.log.lines(end=start))
    assert found.lines <= 3_371
    assert (found.classes["warning"].lines, found.classes["error"].lines) == (320, 51)
    assert found.classes.keys() <= {"warning", "error", "other"}


def test_at_verbose_levels_everything_is_logged_and_a_control_without_effect_is_refused(atom):
    log = LogPlan(engine="atom", controls={"access_log": "0"}, silenced=("access",))
    with (
        pytest.raises(ContainerError, match="lines that its log controls should silence"),
        atom({}, log=log) as container,
    ):
        before = container.settle_log()
        classes = [class_of(line) for line in container.log.lines(end=before)]
        assert len(classes) == 81_074
        assert {name: classes.count(name) for name in ("access", "warning", "error")} == {
            "access": 2_649,
            "warning": 320,
            "error": 51,
        }
        prove_quiet({"": container}, container.url, NO_HEADERS, None)
