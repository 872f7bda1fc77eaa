"""The house of docs/explanation/architecture.md: imports only point down, libraries stay in their rooms."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pytest_bench"

FLOORS = {
    "cli": 8,
    "plugin": 7,
    "catalogue": 6,
    "verify": 6,
    "html_report": 7,
    "comparison": 6,
    "perf": 5,
    "audits": 5,
    "evals": 5,
    "reports": 5,
    "running": 4,
    "gang": 3,
    "load": 2,
    "simulator": 2,
    "containers": 2,
    "cluster": 2,
    "endpoints": 2,
    "datasets": 2,
    "results": 2,
    "tokens": 2,
    "suite": 1,
    "lmeval": 1,
    "api": 1,
    "metrics": 1,
    "scoring": 1,
    "checkpoints": 1,
    "verdict": 1,
}
"""Floor of each room; modules that are no room are on floor 0."""

KEEPERS = {
    "pytest": {"plugin", "cli/contributions.py"},
    "_pytest": set(),
    "xdist": {"plugin/xdist.py"},
    "httpx": {"endpoints"},
    "docker": {"containers"},
    "uvloop": {"simulator"},
    "httptools": {"load", "simulator"},
    "tokenizers": {"tokens"},
    "fastokens": {"tokens"},
    "math_verify": {"scoring"},
    "rouge_score": {"scoring"},
    "vl_convert": {"html_report"},
}
"""Libraries that only some rooms, or one file of one, may import."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def room_of(dotted):
    return name if (name := dotted.partition(".")[2].partition(".")[0]) in FLOORS else ""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}: imports are written in full"
            yield node.module
            if node.module == "pytest_bench":
                yield from (f"pytest_bench.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_point_to_lower_floors_or_stay_in_their_room(path):
    room = place(path).partition("/")[0] if "/" in place(path) else ""
    for name in imported(path):
        if name.startswith("pytest_bench"):
            other = room_of(name)
            if other != room:
                assert FLOORS.get(other, 0) < FLOORS.get(room, 0), f"{place(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_libraries_stay_in_the_rooms_that_keep_them(path):
    for name in imported(path):
        keepers = KEEPERS.get(name.split(".")[0])
        if keepers is not None:
            assert place(path) in keepers or place(path).split("/")[0] in keepers, f"{place(path)}: {name}"


def test_every_room_has_a_floor_and_says_what_it_is_for():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == FLOORS.keys()
    for room in rooms:
        assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())), room


def test_decisions_are_never_made_by_assert():
    for path in MODULES:
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))), place(
            path
        )


def test_the_architecture_page_shows_these_floors_and_names_every_room_and_module():
    page = (PACKAGE.parent / "docs/explanation/architecture.md").read_text()
    table = re.findall(r"^\| (\d) \| (.*) \|$", page, re.MULTILINE)
    shown = {room: int(floor) for floor, rooms in table for room in re.findall(r"`(\w+)/`", rooms)}
    assert shown == FLOORS
    beside = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    for name in (*(f"{room}/" for room in FLOORS), *beside):
        assert f"`{name}`" in page.partition("## The rooms")[2], name


def test_a_session_without_containers_does_not_load_the_docker_sdk():
    """It would double the time that every pytest needs to start."""
    program = (
        "import sys, pytest_bench.plugin.runner, pytest_bench.plugin.slurm; sys.exit('docker' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
