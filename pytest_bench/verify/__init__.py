"""Results folders judged again, later and elsewhere, from their files and an independent expectation alone.

`verify_session` settles the folder as its session did, checks every file, measures and judges every point again from
its logs, and says in sentences where the folder claims something else. `reuse` lets evidence of an earlier session
replace points. Nothing in a folder is imported, written to, or read because a file says so.
"""

from pytest_bench.verify.reuse import parse_age, reuse, too_old
from pytest_bench.verify.session import VerifiedSession, verify_session

__all__ = ["VerifiedSession", "parse_age", "reuse", "too_old", "verify_session"]
