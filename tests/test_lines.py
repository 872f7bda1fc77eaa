from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.files import canonical_json
from pytest_bench.lines import LineReader, decode_line, encode_line, end_line, header_line, is_mark, read_end

RECORDS = [b'{"request_id":"a","content":"one\\ntwo"}', b'{"request_id":"b"}', '{"c":"ä🦜"}'.encode()]
LOG = b"".join([header_line("texts", 1, worker=0), *map(encode_line, RECORDS), end_line(len(RECORDS))])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), json_values, min_size=1, max_size=4
).map(lambda fields: json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))


def write(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "texts.0.jsonl"
    path.write_bytes(data)
    return path


def read(path):
    reader = LineReader(path, "texts", 1)
    return reader, list(reader)


@given(payloads)
def test_a_line_gives_back_its_payload_and_is_json_that_holds_the_checksum(payload):
    line = encode_line(payload)
    assert decode_line(line) == payload
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert list(fields)[-1] == "crc"


@given(payloads, st.data())
def test_any_changed_byte_of_a_line_is_detected(payload, data):
    line = bytearray(encode_line(payload))
    position = data.draw(st.integers(0, len(line) - 1))
    line[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceError, match="checksum"):
        decode_line(bytes(line))


@given(payloads, st.data())
def test_a_cut_line_is_detected(payload, data):
    line = encode_line(payload)
    with pytest.raises(EvidenceError, match="checksum"):
        decode_line(line[: data.draw(st.integers(0, len(line) - 1))])


def test_a_payload_that_speaks_of_checksums_itself_is_read_back_whole():
    payload = b'{"content":",\\"crc\\":1}","crc":7}'
    assert decode_line(encode_line(payload)) == payload


def test_a_complete_log_gives_its_header_its_records_and_its_end(tmp_path_factory):
    reader, records = read(write(tmp_path_factory, LOG))
    assert records == RECORDS
    assert reader.header == {"kind": "header", "log": "texts", "version": 1, "worker": 0}
    assert (reader.lines, reader.torn_bytes, reader.complete) == (3, 0, True)
    reader.require_complete()


def test_a_log_cut_at_any_byte_is_never_complete_and_gives_only_whole_records(tmp_path_factory):
    starts = [0]
    for line in LOG.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for cut in range(len(LOG)):
        path = write(tmp_path_factory, LOG[:cut])
        if cut < starts[1]:
            with pytest.raises(EvidenceError, match="has no header"):
                read(path)
            continue
        reader, records = read(path)
        assert records == RECORDS[: len(records)]
        assert reader.torn_bytes == cut - max(start for start in starts if start <= cut)
        assert read_end(path) is None
        with pytest.raises(EvidenceError, match="did not finish"):
            reader.require_complete()


def test_any_flipped_byte_of_a_log_is_detected(tmp_path_factory):
    for position in range(len(LOG)):
        for flip in (0x01, 0x20, LOG[position] ^ ord("\n") or 0x80):
            damaged = bytearray(LOG)
            damaged[position] ^= flip
            with pytest.raises(EvidenceError):
                read(write(tmp_path_factory, bytes(damaged)))[0].require_complete()


def test_a_damaged_line_is_named_by_file_and_line(tmp_path_factory):
    path = write(tmp_path_factory, LOG.replace(b"two", b"TWO"))
    with pytest.raises(EvidenceError, match=r"texts\.0\.jsonl:2: .*checksum"):
        read(path)


def test_a_line_after_the_end_is_refused(tmp_path_factory):
    with pytest.raises(EvidenceError, match=r":6: a line after the end"):
        read(write(tmp_path_factory, LOG + encode_line(RECORDS[0])))


def test_an_end_that_counts_other_lines_is_refused(tmp_path_factory):
    lines = LOG.splitlines(keepends=True)
    with pytest.raises(EvidenceError, match=r":4: expected an end after 2 lines"):
        read(write(tmp_path_factory, b"".join([*lines[:3], lines[-1]])))


def test_a_log_of_another_kind_or_version_is_refused(tmp_path_factory):
    path = write(tmp_path_factory, LOG)
    with pytest.raises(EvidenceError, match="expected the header of a 'requests' log"):
        LineReader(path, "requests", 1)
    with pytest.raises(EvidenceError, match="of version 2"):
        LineReader(path, "texts", 2)


def test_a_log_without_a_header_is_refused(tmp_path_factory):
    with pytest.raises(EvidenceError, match="expected the header"):
        LineReader(write(tmp_path_factory, encode_line(RECORDS[0])), "texts", 1)


def test_a_missing_log_is_refused_by_name(tmp_path):
    with pytest.raises(EvidenceError, match=r"gone\.jsonl: cannot be read: No such file"):
        LineReader(tmp_path / "gone.jsonl", "texts", 1)


def test_the_end_is_found_without_reading_the_log(tmp_path_factory):
    body = encode_line(canonical_json({"content": "x" * 10_000}))
    path = write(tmp_path_factory, header_line("texts", 1) + body + end_line(1, outcome="complete"))
    end = read_end(path)
    assert end is not None
    assert (end["lines"], end["outcome"]) == (1, "complete")


def test_a_record_is_not_mistaken_for_a_header_or_an_end():
    assert is_mark(decode_line(header_line("texts", 1)))
    assert is_mark(decode_line(end_line(0)))
    assert not any(is_mark(record) for record in RECORDS)
