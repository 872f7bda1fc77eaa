"""The claim of a call on its results folder and its JUnit file: made from the call's options, and given up when the
call is refused or the session ends. Used by pytest's own process and by `pytest-bench run`."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from pytest_bench import clock
from pytest_bench.plugin import options
from pytest_bench.reports.published import publish
from pytest_bench.results.claim import Claim
from pytest_bench.results.event_log import EventLog
from pytest_bench.results.publish import end_session
from pytest_bench.results.settle import Settled
from pytest_bench.verdict.events import Called, Ended, Invocation
from pytest_bench.verdict.verdict import Verdict

_DISTRIBUTIONS = ("pytest-inference-bench", "pytest", "pytest-xdist", "tokenizers", "fastokens")


def claim_of(option: argparse.Namespace, here: Path, nonce: str) -> Claim:
    """Return the claim on the files that a call names, or on those with default names."""
    return Claim(
        options.results_path(option, here, clock.utc_now(), nonce),
        options.junit_path(option, here),
        nonce,
        is_named=bool(option.results or option.resume),
        resumes=bool(option.resume),
    )


def refuse_named(
    option: argparse.Namespace, here: Path, nonce: str, sentence: str, invocation: Invocation
) -> str:
    """Write red files under the names that a refused call gives. Returns the text of the error, as `Claim.refuse`."""
    if option.results or option.resume or getattr(option, "xmlpath", None):
        return claim_of(option, here, nonce).refuse(sentence, invocation)
    return sentence


def called_now(results: Path, invocation: Invocation, junit: str = "") -> Called:
    """Create the first event of a session."""
    return Called(
        invocation=invocation,
        started=clock.utc_now(),
        results=str(results),
        junit=junit,
        versions={name: version(name) for name in _DISTRIBUTIONS},
    )


def conclude(claim: Claim, log: EventLog, status: int, preview: Settled | None = None) -> Verdict:
    """Write the last event, the verdict, and what is published with it, and release the claim.

    `preview` is the session as it was settled just before, if it was.
    """
    try:
        verdict = end_session(claim.results, log, Ended(status=status, at=clock.utc_now()), preview).verdict
        if verdict.refused:
            claim.withdraw()
        else:
            publish(claim.results, verdict)
    finally:
        claim.close()
    return verdict
