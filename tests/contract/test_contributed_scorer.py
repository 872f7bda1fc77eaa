"""A third party's scorer is added by a hook, as described in the how-to page, and judges everywhere or is missed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from eval_folder import POINTS, make_eval, metrics

from pytest_bench.cli import main
from pytest_bench.results.layout import CHECKPOINT
from pytest_bench.verify import verify_session

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-scorer.md"
MINE = ("-p", "bench/conftest.py")


def test_the_scorer_of_the_how_to_page_scores_an_eval_and_verifies_it(folder, capsys, monkeypatch):
    def command(*words):
        sys.modules.pop(str(folder.root / "bench/conftest.py"), None)
        status, printed = main(list(words)), capsys.readouterr()
        return status, printed.out + printed.err

    monkeypatch.chdir(folder.root)
    (code,) = re.findall(r"```python\n(# conftest.py.*?)```", PAGE.read_text(), re.DOTALL)
    answers = {
        number: json.dumps({"final": f"Twice that. #### {2 * (2 * number + 1)}"}) for number in range(8)
    }
    answers |= {3: '{"final": "Twice"}', 5: "no JSON"}
    make_eval(folder, answers=answers, fields="scorers: [{name: json-overlap, extractor: {field: final}}]\n")
    folder.edit("bench/tiny.yaml", "[1, 2, 4]", "[1]")
    refused = folder.run("--endpoint=simulator", "-n2")
    assert refused.status == 4
    assert re.search(r"bench/tiny\.yaml:\d+:\d+: .*unknown scorer 'json-overlap'", refused.output)

    folder.write("bench/conftest.py", code)
    ran = folder.run("--endpoint=simulator", "-n2")
    assert ran.outcomes == {POINTS[0]: "pass"}, ran.output
    assert metrics(ran)["overlap,json"] == (6 + 1 / 4) / 8
    assert metrics(ran)["extraction_failed_rate"] == 1 / 8
    results = str(ran.results)
    lines = (ran.results / "points" / POINTS[0] / CHECKPOINT).read_text()
    document = json.loads(next((ran.results / "evals/tiny/sums").glob("results_*.json")).read_text())
    (digest,) = document["configs"]["gsm8k"]["metadata"]["scoring_digests"].values()
    assert digest in lines

    assert command("verify", results, *MINE)[0] == 0
    assert command("plan", "bench", "--endpoint=simulator", *MINE)[0] == 0
    status, said = command("samples", results, "--item", "sum-3", "--json", *MINE)
    assert (status, json.loads(said.splitlines()[0])["scores"]["overlap,json"]["value"]) == (0, 0.25)
    for missed in (["verify", results], ["samples", results], ["plan", "bench", "--endpoint=simulator"]):
        status, said = command(*missed)
        assert status != 0
        assert "unknown scorer 'json-overlap'" in said
        assert "named with -p" in said
    assert any("unknown scorer" in problem for problem in verify_session(ran.results).problems)

    folder.edit("bench/conftest.py", "# no answer was found", "# nothing was found")
    status, said = command("verify", results, *MINE)
    assert status == 1
    assert "overlap,json has another configuration, version or code" in said
    resumed = folder.run("bench", "--endpoint=simulator", "--resume", str(ran.results), results=None)
    assert resumed.status == 0, resumed.output
    assert command("verify", results, *MINE)[0] == 0

    folder.edit("bench/conftest.py", "version=1,", "version=2,")
    status, said = command("verify", results, *MINE)
    assert status == 1
    assert "its answers were scored otherwise than the plan says" in said
