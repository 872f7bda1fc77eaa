"""Settings of all tests."""

import os

from hypothesis import settings

# Every pytest that a test starts would compile all modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A deadline would judge the machine: no test asserts how long something takes.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
