"""Everything a suite may ask for, gathered from the rooms that know it and from third parties.

The plugin and the commands both read suites through `vocabulary`, so both plan the same points, and both refuse
by `require_possible` what could never be had. `require_tokenizers` looks for files, so only a session that runs
calls it.
"""

from pytest_bench.catalogue.impossible import require_possible
from pytest_bench.catalogue.tokenizers import require_tokenizers
from pytest_bench.catalogue.vocabulary import all_apis, vocabulary

__all__ = ["all_apis", "require_possible", "require_tokenizers", "vocabulary"]
