"""Settings of all tests."""

from hypothesis import settings

# A deadline would judge the machine: no test asserts how long something takes.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
