"""The names that suites may use, collected from the rooms that define them and from third parties.

The plugin and the commands read suites with the same `vocabulary`, so they plan the same points. Both use
`require_possible` to refuse limits that could never be judged. `require_tokenizers` looks for files, so only a
session that runs calls it.
"""

from pytest_bench.catalogue.evals import require_evals
from pytest_bench.catalogue.impossible import require_possible
from pytest_bench.catalogue.tokenizers import require_tokenizers
from pytest_bench.catalogue.vocabulary import all_apis, vocabulary

__all__ = ["all_apis", "require_evals", "require_possible", "require_tokenizers", "vocabulary"]
