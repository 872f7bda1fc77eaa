"""What lands on disk, byte for byte. A change here needs a new version, and a reader of the old one.

The verdict's and the simulator's formats have their tests beside the rest of those rooms.
"""

import msgspec

from pytest_bench.endpoints.scrape import METRICS_VERSION, Reading
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.records import REQUESTS_VERSION, Moments, RequestRecord, TextRecord, Usage
from pytest_bench.results.evidence import EVIDENCE_VERSION, write_evidence
from pytest_bench.tokens.counts import COUNTS_VERSION, InputTokens, OutputTokens
from pytest_bench.verdict.outcome import Outcome

REQUEST = RequestRecord(
    seq=0,
    request_id="r-1",
    index=7,
    sample_index=3,
    endpoint=1,
    scheduled_ns=10,
    send_start_ns=11,
    connect_ns=5,
    request_sent_ns=12,
    first_byte_ns=20,
    first_content_ns=21,
    first_output_ns=22,
    last_content_ns=31,
    end_ns=32,
    seen_after_ns=Moments(first_byte=1, first_content=2, first_output=3, last_content=4, end=5),
    uncertainty_ns=Moments(last_content=6),
    event_count=4,
    content_event_count=2,
    content_gaps_ns=(10,),
    content_event_tokens=(1, 2),
    status=200,
    outcome="failed",
    error="truncated_stream",
    error_detail="ended early",
    finish_reason="length",
    usage=Usage(input_tokens=4, output_tokens=3, cached_tokens=2, reasoning_tokens=1),
    server_time_s=0.5,
    text_sha256="ab",
    output_empty=True,
    request_bytes=100,
    response_bytes=200,
    resent=True,
    polls=6,
)

EVIDENCE = """{
  "files": [
    {
      "path": "phases/measured/phase.json",
      "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "size_bytes": 2
    }
  ],
  "nonce": "n",
  "outcome": "pass",
  "point": "s/perf/a",
  "point_digest": "d",
  "version": 1
}
"""


def test_a_log_is_lines_of_json_between_a_header_and_an_end_each_with_its_checksum():
    log = header_line("texts", 1, worker=0) + encode_line(b'{"request_id":"r-1"}') + end_line(1)
    assert log == (
        b'{"kind":"header","log":"texts","version":1,"worker":0,"crc":3756629102}\n'
        b'{"request_id":"r-1","crc":3229716475}\n'
        b'{"kind":"end","lines":1,"crc":1164843866}\n'
    )


def test_version_2_of_a_request_is_this():
    assert REQUESTS_VERSION == 2
    assert msgspec.json.encode(REQUEST) == (
        b'{"seq":0,"request_id":"r-1","index":7,"sample_index":3,"endpoint":1,"scheduled_ns":10,"send_start_ns":11,'
        b'"connect_ns":5,"request_sent_ns":12,"first_byte_ns":20,"first_content_ns":21,"first_output_ns":22,'
        b'"last_content_ns":31,"end_ns":32,"seen_after_ns":{"first_byte":1,"first_content":2,"first_output":3,'
        b'"last_content":4,"end":5},"uncertainty_ns":{"last_content":6},'
        b'"event_count":4,"content_event_count":2,"content_gaps_ns":[10],'
        b'"content_event_tokens":[1,2],"status":200,"outcome":"failed","error":"truncated_stream",'
        b'"error_detail":"ended early","finish_reason":"length","usage":{"input_tokens":4,"output_tokens":3,'
        b'"cached_tokens":2,"reasoning_tokens":1},"server_time_s":0.5,"text_sha256":"ab","output_empty":true,'
        b'"request_bytes":100,"response_bytes":200,"resent":true,"polls":6}'
    )


def test_fields_of_a_request_that_have_their_default_are_left_out():
    bare = RequestRecord(
        seq=0, request_id="r", index=0, sample_index=0, send_start_ns=1, end_ns=2, outcome="interrupted"
    )
    assert msgspec.json.encode(bare) == (
        b'{"seq":0,"request_id":"r","index":0,"sample_index":0,"send_start_ns":1,"end_ns":2,"outcome":"interrupted"}'
    )


def test_version_2_of_a_text_is_this():
    record = TextRecord(
        request_id="r-1",
        sample_index=3,
        content="c",
        reasoning="r",
        tool_calls="t",
        first_event_text="f",
        token_ids=[1, 2],
    )
    assert msgspec.json.encode(record) == (
        b'{"request_id":"r-1","sample_index":3,"content":"c","reasoning":"r","tool_calls":"t","first_event_text":"f",'
        b'"token_ids":[1,2]}'
    )


def test_version_1_of_token_counts_is_this():
    counted = OutputTokens(
        request_id="r-1", sample_index=3, content=4, reasoning=0, tool_calls=0, first_event=1
    )
    assert COUNTS_VERSION == 1
    assert msgspec.json.encode(counted) == (
        b'{"request_id":"r-1","sample_index":3,"content":4,"reasoning":0,"tool_calls":0,"first_event":1}'
    )
    assert msgspec.json.encode(InputTokens(sample_index=3, input=None)) == b'{"sample_index":3,"input":null}'


def test_version_1_of_a_reading_of_metrics_is_this():
    reading = Reading(label="before", asked_ns=1, answered_ns=2, samples={'a{b="c"}': 1.5}, missing=None)
    assert METRICS_VERSION == 1
    assert msgspec.json.encode(reading) == (
        b'{"label":"before","asked_ns":1,"answered_ns":2,"samples":{"a{b=\\"c\\"}":1.5},"missing":null}'
    )


def test_version_1_of_evidence_is_this(tmp_path):
    phase = tmp_path / "phases" / "measured" / "phase.json"
    phase.parent.mkdir(parents=True)
    phase.write_text("{}")
    write_evidence(tmp_path, point="s/perf/a", point_digest="d", nonce="n", outcome=Outcome.PASS)
    assert EVIDENCE_VERSION == 1
    assert (tmp_path / "evidence.json").read_text() == EVIDENCE
