"""What the ranks say to each other, what rank 0 decides, and what the environment must hold."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cluster import proof
from pytest_bench.cluster.coordinator import Coordinator
from pytest_bench.cluster.frames import (
    LARGEST_FRAME_BYTES,
    Abort,
    Challenge,
    Decoder,
    Go,
    Hello,
    Leave,
    Phase,
    Ping,
    ProtocolError,
    Ready,
    Welcome,
    encode,
)
from pytest_bench.cluster.place import derived_ports, read_place, read_secret
from pytest_bench.errors import UsageError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = TEXT.filter(bool)
RANK = st.integers(0, 4095)
FRAMES = st.one_of(
    st.builds(Challenge, version=st.integers(0, 9), job=TEXT, host=NAME, nonce=NAME),
    st.builds(Hello, rank=RANK, size=st.integers(1, 4096), host=NAME, nonce=NAME, proof=NAME),
    st.builds(Welcome, proof=NAME),
    st.builds(Phase, rank=RANK, text=TEXT),
    st.builds(Ready, name=NAME, timeout_s=st.floats(0.001, 1e6), payload=st.none() | TEXT),
    st.builds(Go, name=NAME, payload=st.none() | TEXT),
    st.builds(Abort, rank=st.none() | RANK, host=TEXT, phase=TEXT, reason=TEXT),
    st.builds(Ping),
    st.builds(Leave),
)


@given(st.lists(FRAMES), st.lists(st.integers(0, 500)))
def test_frames_arrive_as_they_were_sent_however_they_are_split(frames, cuts):
    data = b"".join(map(encode, frames))
    decoder, found, start = Decoder(), [], 0
    for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        found += decoder.feed(data[start:end])
        start = end
    assert found == frames


@given(st.binary(max_size=200))
def test_bytes_of_a_stranger_raise_no_other_error(data):
    with contextlib.suppress(ProtocolError):
        Decoder().feed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        (LARGEST_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\x02{}",
        *(
            len(text).to_bytes(4, "big") + text
            for text in (
                b'{"type":"ping","more":1}',
                b'{"type":"hello","rank":-1,"size":2,"host":"h","nonce":"n","proof":"p"}',
                b'{"type":"hello","rank":"1","size":2,"host":"h","nonce":"n","proof":"p"}',
                b'{"type":"hello","rank":1.5,"size":2,"host":"h","nonce":"n","proof":"p"}',
                b'{"type":"hello","rank":true,"size":2,"host":"h","nonce":"n","proof":"p"}',
                b'{"type":"hello","rank":0,"size":0,"host":"h","nonce":"n","proof":"p"}',
            )
        ),
    ],
)
def test_anything_but_a_frame_is_refused(data):
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_a_proof_is_valid_for_exactly_what_it_states():
    secret = bytes(32)
    asked = proof.challenge("job", "n0")
    answer = proof.hello(secret, asked, 1, 3, "n1")
    assert proof.is_proven(secret, asked, answer)
    assert not proof.is_proven(bytes(31) + b"\1", asked, answer)
    assert not proof.is_proven(secret, proof.challenge("job", "n0"), answer), "a replayed answer"
    for change in ({"rank": 2}, {"size": 4}, {"host": "n2"}, {"nonce": "other"}):
        assert not proof.is_proven(secret, asked, msgspec.structs.replace(answer, **change)), change
    welcome = proof.welcome(secret, asked, answer)
    assert proof.is_welcome(secret, asked, answer, welcome)
    assert welcome.proof != answer.proof, "a server cannot send the proof back"


def started(size=4):
    return Coordinator(size, "n0", 0.0, join_s=60, heartbeat_s=1)


def joined(size=4):
    coordinator = started(size)
    for rank in range(1, size):
        assert coordinator.join(rank, size, f"n{rank}", 0.0) == ()
    return coordinator


def ready(name, timeout_s=600.0, payload=None):
    return Ready(name=name, timeout_s=timeout_s, payload=payload)


def beat(coordinator, now_s, ranks):
    for rank in ranks:
        coordinator.receive(rank, Ping(), now_s)


@given(st.permutations(range(4)))
def test_a_barrier_opens_when_the_last_rank_comes_and_not_before(order):
    coordinator = joined()
    for rank in order[:-1]:
        assert coordinator.receive(rank, ready("b", payload=f"of {rank}"), 1.0) == ()
    assert coordinator.receive(order[-1], ready("b", payload=f"of {order[-1]}"), 1.0) == (
        Go(name="b", payload="of 0"),
    )


def test_a_timeout_says_who_is_missing_and_what_the_others_do():
    coordinator = started()
    coordinator.join(1, 4, "n1", 0.0)
    coordinator.join(3, 4, "n3", 0.0)
    coordinator.receive(3, Phase(rank=3, text="loading"), 8.0)
    for rank in (0, 1):
        coordinator.receive(rank, ready("image:x:loaded", timeout_s=50), 8.0)
    beat(coordinator, 57.0, (1, 3))
    assert coordinator.tick(57.9) == ()
    (abort,) = coordinator.tick(58.0)
    assert abort == Abort(
        rank=None,
        host="",
        phase="",
        reason="image:x:loaded 2/4; rank 2 never connected; rank 3 (n3) loading for 50 s",
    )


def test_the_time_to_join_has_a_deadline_of_its_own_and_counts_refused_peers():
    coordinator = started(3)
    coordinator.join(1, 3, "n1", 0.0)
    coordinator.refused_peers = 2
    beat(coordinator, 59.0, (1,))
    (abort,) = coordinator.tick(60.0)
    assert abort.reason.startswith("join 2/3; rank 2 never connected; 2 connections were refused")


@pytest.mark.parametrize(
    ("fail", "rank", "host", "reason"),
    [
        (lambda c: c.lost(2, "its process ended"), 2, "n2", "its process ended"),
        (
            lambda c: c.receive(1, Abort(rank=1, host="x", phase="x", reason="disk full"), 1.0),
            1,
            "n1",
            "disk full",
        ),
        (lambda c: (beat(c, 3.9, (1, 2)), c.tick(4.0))[1], 3, "n3", "no heartbeat for 4 s"),
        (lambda c: c.join(2, 4, "n9", 1.0), 2, "n9", "joined twice, from n2 and from n9"),
        (lambda c: c.join(5, 8, "n5", 1.0), 5, "n5", "is rank 5 of 8, but rank 0 (n0) expects 4 ranks"),
    ],
    ids=["lost", "aborted", "silent", "twice", "another size"],
)
def test_the_first_failure_is_named_and_is_the_only_one(fail, rank, host, reason):
    coordinator = joined()
    (abort,) = fail(coordinator)
    assert (abort.rank, abort.host, reason in abort.reason) == (rank, host, True), abort
    assert coordinator.lost(1, "later") == ()
    assert coordinator.tick(1e6) == ()
    for other in range(4):
        assert coordinator.receive(other, ready("b"), 5.0) == (), "no barrier opens after a failure"
    assert coordinator.failure == abort


def test_the_last_phase_of_a_failed_rank_is_named():
    coordinator = joined()
    coordinator.receive(2, Phase(rank=2, text="building"), 1.0)
    (abort,) = coordinator.lost(2, "gone")
    assert abort.phase == "building"


def test_a_barrier_is_used_once():
    coordinator = joined(2)
    coordinator.receive(0, ready("b"), 1.0)
    coordinator.receive(1, ready("b"), 1.0)
    (abort,) = coordinator.receive(1, ready("b"), 1.0)
    assert "a barrier is used once" in abort.reason


def test_a_rank_that_leaves_is_a_failure_only_if_others_wait_for_it():
    coordinator = joined(3)
    assert coordinator.receive(2, Leave(), 1.0) == ()
    assert coordinator.lost(2, "closed") == ()
    assert coordinator.tick(2.0) == ()
    (abort,) = coordinator.receive(0, ready("b"), 2.0)
    assert (abort.rank, abort.reason) == (2, "ended without coming to the barrier 'b'")


GOOD = {
    "NODE_RANK": "1",
    "NNODES": "4",
    "MASTER_ADDR": "10.0.0.7",
    "SLURM_JOB_ID": "12",
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"NODE_RANK": None}, "NODE_RANK or SLURM_NODEID: not set"),
        ({"NNODES": None}, "NNODES or SLURM_STEP_NUM_NODES or SLURM_JOB_NUM_NODES: not set"),
        *(
            ({"NODE_RANK": text}, f"NODE_RANK={text!r}: expected")
            for text in ("", "-1", "1.0", " 1", "01", "one", "\u0661")
        ),
        *(({"NNODES": text}, "NNODES=") for text in ("", "0", "4097", "4 nodes", "+4")),
        ({"NODE_RANK": "4"}, "NODE_RANK=4, NNODES=4: expected a rank below"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR: not set"),
        ({"MASTER_ADDR": "127.0.0.1"}, "MASTER_ADDR=127.0.0.1: the address 127.0.0.1 cannot be reached"),
        ({"MASTER_ADDR": "localhost"}, "MASTER_ADDR=localhost: the address"),
        ({"MASTER_ADDR": "169.254.3.4"}, "cannot be reached from other nodes"),
        ({"MASTER_ADDR": "0.0.0.0"}, "cannot be reached from other nodes"),
        ({"SLURM_JOB_ID": None}, "PYTEST_BENCH_RENDEZVOUS_JOB: not set"),
        ({"PYTEST_BENCH_RENDEZVOUS_PORT": "70000"}, "PYTEST_BENCH_RENDEZVOUS_PORT=70000: expected a port"),
        ({"PYTEST_BENCH_RENDEZVOUS_PORT": "http"}, "PYTEST_BENCH_RENDEZVOUS_PORT='http'"),
    ],
)
def test_a_missing_or_malformed_value_is_an_error_and_never_a_default(changes, told):
    environ = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(UsageError) as error:
        read_place(environ)
    assert told in str(error.value)


def test_slurms_own_variables_serve_where_no_launcher_set_others():
    place = read_place(
        {
            "SLURM_NODEID": "2",
            "SLURM_STEP_NUM_NODES": "3",
            "SLURM_JOB_ID": "7",
            "SLURM_STEP_ID": "1",
            "MASTER_ADDR": "10.1.1.1",
        }
    )
    assert (place.rank, place.size, place.job, place.address) == (2, 3, "7.1", "10.1.1.1")
    assert place.ports == derived_ports("", "7.1")


@given(st.text(), st.text())
def test_derived_ports_are_sixteen_outside_of_the_ephemeral_range(master_port, job):
    ports = derived_ports(master_port, job)
    assert len(set(ports)) == 16
    assert min(ports) >= 1024
    assert max(ports) < 32768


def test_one_node_needs_neither_address_nor_job():
    assert read_place({"NODE_RANK": "0", "NNODES": "1"}).size == 1


SECRET = "ab" * 32


def test_a_secret_is_read_from_the_environment_or_a_private_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    wanted = bytes.fromhex(SECRET)
    assert read_secret({"PYTEST_BENCH_RENDEZVOUS_SECRET": SECRET}) == wanted
    assert read_secret({"PYTEST_BENCH_RENDEZVOUS_SECRET_FILE": str(path)}) == wanted


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (SECRET, 0o640, "has mode 0640, expected 0600"),
        ("abc", 0o600, "64 hexadecimal"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_secret_that_is_not_one_is_refused_without_being_shown(tmp_path, text, mode, told):
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UsageError, match=told) as error:
        read_secret({"PYTEST_BENCH_RENDEZVOUS_SECRET_FILE": str(path)})
    assert SECRET not in str(error.value)


def test_no_secret_is_an_error():
    with pytest.raises(UsageError, match="not set"):
        read_secret({})
