"""Definitions of metrics, exact statistics, and measurements computed from records.

Pure; depends only on numpy. Other rooms use `Columns`, `TokenCounts`, `measure`, `Measurement` and `definitions`.
"""
