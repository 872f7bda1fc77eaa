"""`Retry-After`: how long a server asks to wait before a request is sent again."""

from __future__ import annotations

import re
import time

_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_LONGEST_DATE = 100


def retry_after_s(value: bytes) -> float | None:
    """Seconds from now that the header's `value` means, a number of them or a date; None if it is neither.

    A date that has passed is 0 (RFC 9110, section 10.2.3).
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if len(value) > _LONGEST_DATE:
        return None
    # Dates are rare, and a load worker imports only what it needs.
    from datetime import UTC  # noqa: PLC0415 # needed only for a date; a load worker imports little
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 # as above

    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        at_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at_s - time.time())
