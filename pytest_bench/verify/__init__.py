"""Judges results folders again from their files and an independent expectation, at any time and on any machine.

`verify_session` settles the folder as its session did, checks every file, measures and judges every point again from
its logs, and reports each contradiction. `reuse` uses evidence of an earlier session for points that did not run. No
file of a folder is imported or changed, and no path in a file is followed.
"""

from pytest_bench.verify.reuse import parse_age, reuse, too_old
from pytest_bench.verify.session import VerifiedSession, verify_session

__all__ = ["VerifiedSession", "parse_age", "reuse", "too_old", "verify_session"]
