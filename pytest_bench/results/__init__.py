"""The results folder of a session: the name and version of every file in it, how each is written and read, and the
one function that turns the folder into a verdict and a JUnit file.

`settle` judges a folder; `publish` writes its verdict and its JUnit file; `claim` keeps other sessions out.
"""
