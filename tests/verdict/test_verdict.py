import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.files import readable_json, write_json
from pytest_bench.results.claim import read_verdict
from pytest_bench.verdict.events import Invocation
from pytest_bench.verdict.verdict import (
    exit_status,
    json_schema,
    refusal,
)

GOLDEN = """{
  "complete_required": false,
  "counts": {
    "pass": 1
  },
  "coverage": {
    "complete": true,
    "left_out": []
  },
  "expectation_digest": null,
  "faults": [],
  "files": {},
  "finished": null,
  "interrupted": false,
  "invocation": {
    "command_line": [],
    "environment": [],
    "ini": []
  },
  "nonce": "n0",
  "plan_digest": "plan",
  "points": [
    {
      "bounds": [
        {
          "bound": {
            "comparison": "<=",
            "confidence": null,
            "limit": 200000000.0,
            "metric": "request_latency.p99",
            "origin": "s.yaml:3:5",
            "text": "<= 200ms"
          },
          "interval": null,
          "measured": 150000000.0,
          "sentence": "request_latency.p99 is 150 ms",
          "state": "met"
        }
      ],
      "digest": "digest of s/perf/a",
      "evidence": "points/s/perf/a",
      "evidence_digest": "evidence of s/perf/a",
      "id": "s/perf/a",
      "labels": [],
      "origin": "s.yaml:9:3",
      "outcome": "pass",
      "reasons": [],
      "reused": null
    }
  ],
  "pytest_exit_status": 0,
  "refused": false,
  "started": null,
  "status": "pass",
  "version": 2,
  "versions": {}
}
"""


def test_the_wire_format_of_version_2_does_not_change(green):
    assert readable_json(green("s/perf/a").settle()).decode() == GOLDEN


def test_a_verdict_is_read_back_as_written(green, tmp_path):
    verdict = green("s/perf/a", "s/perf/b").settle()
    write_json(tmp_path / "verdict.json", verdict)
    assert read_verdict(tmp_path / "verdict.json") == verdict


def test_a_session_that_has_not_ended_is_incomplete(green):
    verdict = green("s/perf/a").facts(pytest_exit_status=None).settle()
    assert verdict.status == "incomplete"
    assert [fault.code for fault in verdict.faults] == ["not-ended"]
    assert exit_status(verdict) == 1


def test_a_session_refused_at_configure_is_red_and_exits_4(tmp_path):
    verdict = refusal(
        nonce="n0", sentence="the results folder holds another session", invocation=Invocation()
    )
    assert verdict.status == "error"
    assert exit_status(verdict) == 4
    write_json(tmp_path / "verdict.json", verdict)
    assert read_verdict(tmp_path / "verdict.json") == verdict


@pytest.mark.parametrize("status", ["fail", "inconclusive", "error", "incomplete"])
def test_only_a_pass_exits_0(green, status):
    verdict = green("s/perf/a").settle()
    assert exit_status(verdict) == 0
    assert exit_status(msgspec.structs.replace(verdict, status=status)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"version": 3}',
        b'{"version": 2}',
        b'{"version": true}',
        b"\xff",
        b'{"version": NaN}',
    ],
)
def test_a_file_that_is_not_a_verdict_is_refused_by_name(tmp_path, content):
    (tmp_path / "verdict.json").write_bytes(content)
    with pytest.raises(EvidenceError, match=r"verdict\.json"):
        read_verdict(tmp_path / "verdict.json")


def test_a_verdict_with_an_unknown_field_is_refused(tmp_path):
    content = json.loads(GOLDEN)
    content["extra"] = 1
    (tmp_path / "verdict.json").write_text(json.dumps(content))
    with pytest.raises(EvidenceError, match="extra"):
        read_verdict(tmp_path / "verdict.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=100))
def test_no_bytes_give_a_traceback(tmp_path, content):
    (tmp_path / "verdict.json").write_bytes(content)
    with pytest.raises(EvidenceError):
        read_verdict(tmp_path / "verdict.json")


def test_the_schema_describes_every_field_of_the_file():
    schema = json_schema()
    described = schema["$defs"]["Verdict"]
    assert set(described["properties"]) == set(json.loads(GOLDEN))
    assert described["additionalProperties"] is False
    assert schema["$defs"]["Outcome"]["enum"] == ["error", "fail", "inconclusive", "missing", "pass"]
