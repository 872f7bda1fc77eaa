"""Bounds judged, the ledger settled, evidence re-verified, the verdict written.

Pure, apart from reading and writing its own files. Others use `judge`, `violations`, `settle`,
`write_evidence`, `check_evidence`, `Verdict` with `born_red` and `exit_status`, and the event types.
"""
