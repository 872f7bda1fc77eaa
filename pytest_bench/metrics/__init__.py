"""What the numbers mean: definitions of metrics, exact statistics, and measurements made of records.

Pure, numpy only. Others use `Columns`, `TokenCounts`, `measure`, `Measurement` and `definitions`.
"""
