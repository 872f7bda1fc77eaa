"""Load datasets, from files or synthetic, into validated rows that an API can encode.

`rows.load_dataset` is the entry point. `formats` reads files, `columns` validates rows, and `synthetic` generates
prompts of an exact length under a given tokenizer.
"""
