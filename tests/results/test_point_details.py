"""What a summary states about one kind of point is typed, and read as such or not at all."""

import msgspec
import pytest

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json, write_json
from pytest_bench.results.details import AnyDetail, AuditDetail, Before, PerfDetail
from pytest_bench.results.summary import NAME, Summary, read_summary
from pytest_bench.verdict.outcome import Judgement, Outcome

AUDIT = AuditDetail(
    explanation="It cached.",
    order="after the benchmark",
    before=Before(sharing=("s/perf/a",), begun=("s/perf/a",)),
    result=None,
)


def summary(detail):
    return Summary(
        point="s/audit/a",
        point_digest="d",
        nonce="n",
        judgement=Judgement(outcome=Outcome.ERROR),
        measurement=None,
        phases=(),
        dataset=None,
        detail=detail,
    )


@pytest.mark.parametrize("detail", [PerfDetail(note="crowded"), AUDIT], ids=lambda detail: detail.kind())
def test_the_detail_of_each_kind_is_read_as_it_was_written(tmp_path, detail):
    write_json(tmp_path / NAME, summary(detail))
    found = read_summary(tmp_path)
    assert found.detail == detail
    assert found.detail_as(type(detail)) == detail
    assert read_json(tmp_path / NAME)["detail"]["kind"] == detail.kind()


def test_every_kind_has_a_distinct_name():
    kinds = [kind.kind() for kind in AnyDetail.__args__]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "perf"}, "before"),
        ({"kind": "unheard-of"}, "detail.kind"),
        ({"before": None}, "detail.before"),
        ({"order": "some day"}, "detail.order"),
        ({"result": {"passed": "yes"}}, "detail.result.passed"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_detail_of_another_kind_is_rejected_with_its_field(tmp_path, change, named):
    written = msgspec.to_builtins(summary(AUDIT))
    write_json(tmp_path / NAME, written | {"detail": written["detail"] | change})
    with pytest.raises(EvidenceError, match=rf"(?s){NAME}.*{named}"):
        read_summary(tmp_path)


def test_reading_a_detail_as_another_kind_is_an_error_that_names_both():
    with pytest.raises(EvidenceError, match=r"detail\.kind: is 'perf'; expected 'audit'"):
        summary(PerfDetail()).detail_as(AuditDetail)
