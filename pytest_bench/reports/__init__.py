"""Reports: tables of points for terminals, chats and issues, and results in MLPerf's layout.

`tables.tables` turns points and their summaries into one table per kind, and `tables.render` a table into lines of
text. `mlperf.export` writes the files that MLPerf's submission checker reads.
"""
