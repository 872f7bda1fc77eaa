"""The results folder of a session: the names, versions, reading and writing of its files, and the function that turns
the folder into a verdict and a JUnit file.

`claim` locks a folder; `settle` judges it; `publish` writes its verdict and its JUnit file, first red and then final.
"""
