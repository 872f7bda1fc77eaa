"""The names that suites may use, from the rooms that define them and from third parties, and what points need.

The plugin and the commands read suites with the same `vocabulary`, so they plan the same points. Both use
`require_possible` to refuse limits that could never be judged. `Requirements` checks, for a session that runs, that
everything the selected points need is available.
"""

from pytest_bench.catalogue.impossible import require_possible
from pytest_bench.catalogue.requirements import Requirements
from pytest_bench.catalogue.vocabulary import all_apis, vocabulary

__all__ = ["Requirements", "all_apis", "require_possible", "vocabulary"]
