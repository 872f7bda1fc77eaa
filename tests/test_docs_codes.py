"""The reference page of the verdict lists every code that the package constructs, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from pytest_bench.verdict.points import LABEL_RULES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pytest_bench"
PAGE = ROOT / "docs" / "reference" / "verdict.md"

CONSTRUCTORS = {"Reason", "Fault", "error", "missing", "_fault"}
"""Functions and classes whose first argument, or whose argument `code`, is a code."""

COMPUTED = {
    "f'bound-{item.state}'": {"bound-not-met", "bound-inconclusive", "bound-undefined"},
    "f'bound-{bound.state}'": {"bound-not-met", "bound-inconclusive", "bound-undefined"},
    "f'{stage}-failed'": {"setup-failed", "teardown-failed"},
    "f'counting-{done.outcome}'": {"counting-failed", "counting-timeout", "counting-interrupted"},
    "f'evidence-{finding.kind}'": {"evidence-fail", "evidence-error"},
    "label": {str(label) for label in LABEL_RULES},
    # Passed on: these codes are constructed elsewhere.
    "code": set(),
    "error.code": set(),
    "event.code": set(),
    "fault.code": set(),
}
"""The codes of each expression that is not a constant."""

NOT_IN_VERDICTS = {
    "busy": "the call is refused",
    "suite": "the call is refused",
    "malformed": "an error type of a request",
    "protocol": "the connection is refused",
    "gang-protocol": "the agents are lost, which is another error",
    "not-met": "the point is already judged",
}
"""Codes of exceptions that never become the reason of a point, each with what happens instead."""


def trees() -> Iterator[ast.Module]:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in {"simulator", "lmeval"}:  # their `error` takes no code
            yield ast.parse(path.read_text(encoding="utf-8"))


def constants() -> dict[str, str]:
    """The constants of modules and classes that are text, by name."""
    return {
        target.id: node.value.value
        for tree in trees()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def argument(call: ast.Call) -> ast.expr | None:
    """The argument of a call that is a code."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    return (named or call.args or [None])[0]


def constructed() -> Iterator[ast.expr]:
    """The expression of every code that the package constructs."""
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", None))
                code = argument(node)
                if name in CONSTRUCTORS and code is not None:
                    yield code
            elif isinstance(node, ast.ClassDef):
                for field in node.body:
                    if isinstance(field, ast.Assign) and ast.unparse(field.targets[0]) == "code":
                        yield field.value
            elif isinstance(node, ast.Assign) and ast.unparse(node).startswith("code = f'"):
                yield node.value


def codes() -> set[str]:
    known, found = constants(), set()
    for code in constructed():
        text = ast.unparse(code)
        if isinstance(code, ast.Constant):
            found.add(code.value)
        elif text in known:
            found.add(known[text])
        else:
            found |= COMPUTED[text]
    return found


def documented() -> set[str]:
    """The codes in the first column of the tables of the section."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("\n## Codes\n")
    section, _, _ = rest.partition("\n## ")
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}


def test_the_page_lists_every_code_that_a_verdict_may_contain_and_no_other():
    assert sorted(documented()) == sorted(codes() - set(NOT_IN_VERDICTS))
