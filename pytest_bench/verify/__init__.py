"""Results folders judged again, later and elsewhere, from their files and an independent expectation alone.

`verify_session` re-checks every file, measures and judges every point anew from its logs, settles the ledger
once more, and says in sentences where the folder claims something else. `reuse` lets evidence of an earlier
session stand in for points. Nothing in a folder is imported, written to, or read because a file says so.
"""

from pytest_bench.verify.reuse import parse_age, reuse, too_old
from pytest_bench.verify.session import VerifiedSession, verify_session

__all__ = ["VerifiedSession", "parse_age", "reuse", "too_old", "verify_session"]
