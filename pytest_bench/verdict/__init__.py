"""Events, and what they amount to: bounds judged, points decided, the verdict. Pure.

Others use `judge`, `violations`, `decide`, `Verdict` with `status_of` and `exit_status`, and the event types.
"""
