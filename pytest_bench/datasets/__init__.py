"""Datasets: from files or made up, to rows that an API can encode. Every row is validated before load runs.

`rows.load_dataset` is the way in. `formats` reads files, `columns` judges rows, `synthetic` makes prompts
of an exact length under a tokenizer that is handed in.
"""
