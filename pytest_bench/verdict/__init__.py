"""Events, and the decisions made from them: judged bounds, decided points, the verdict. Pure functions.

Public: `judge`, `violations`, `decide`, `Verdict` with `status_of` and `exit_status`, and the event types.
"""
