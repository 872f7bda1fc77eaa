"""The process that serves, found in the files of /proc, and its arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.containers import processes
from pytest_bench.containers.processes import Probe, Process
from pytest_bench.containers.verification import argument_differences

TCP = (
    b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    b"   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n"
    b"   1: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0\n"
    b"   2: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0\n"
)
LISTING = (
    b"/proc/1/fd:\ntotal 0\nlrwx------ 1 root root 64 Nov  1 10:00 0 -> /dev/null\n"
    b"\n/proc/12/fd:\nlrwx------ 1 root root 64 Nov  1 10:00 3 -> socket:[4711]\n"
    b"\n/proc/13/fd:\nlrwx------ 1 root root 64 Nov  1 10:00 3 -> socket:[4711]\n"
)
USERS = b"dr-xr-xr-x 9 0 0 0 Nov 30 12:45 /proc/1\ndr-xr-xr-x 9 1000 1000 0 Nov 30 12:45 /proc/12\n"
STATS = b"1 (sh) S 0 1 1\n12 (py (3) :) S 1 1 1\n13 (worker) S 12 1 1\n"


def process(arguments, environ=b"A=1\0"):
    return Process(pid=12, environ=environ, cmdline=b"\0".join(word.encode() for word in arguments) + b"\0")


def test_the_listening_socket_is_found_by_port_and_state():
    assert processes.listening_sockets(TCP, 8000) == {4711}


def test_owners_are_read_from_the_listing_of_descriptors():
    assert processes.owners(LISTING, {4711}) == [12, 13]


def test_a_program_name_with_parentheses_does_not_hide_the_parent():
    assert processes.parents(STATS) == {1: 0, 12: 1, 13: 12}


def test_a_worker_that_inherited_the_socket_is_not_the_listener():
    assert processes.listeners([12, 13], processes.parents(STATS)) == [12]


def probe(files):
    return Probe(lambda words, _user: (words[-1] not in files, files.get(words[-1], b"")))


FILES = {
    "/proc/net/tcp6": TCP,
    processes._LIST_USERS[-1]: USERS,
    processes._LIST_PROCESSES[-1]: STATS,
    processes._LIST_SOCKETS[-1]: LISTING,
    "/proc/1/cmdline": b"sh\0-c\0serve\0",
    "/proc/1/environ": b"A=1\0",
    "/proc/12/cmdline": b"VLLM::APIServer\0\0\0",
    "/proc/12/environ": b"\0\0\0\0",
}


def test_a_process_that_has_retitled_itself_is_verified_by_its_nearest_parent():
    (serving,) = probe(FILES).serving(8000)
    assert (serving.pid, serving.source.pid) == (12, 1)


def test_a_process_with_an_environment_is_verified_itself():
    (serving,) = probe({**FILES, "/proc/12/environ": b"A=1\0B=\n=\0"}).serving(8000)
    assert (serving.pid, serving.source.pid) == (12, 12)


def test_an_empty_environment_is_an_environment():
    (serving,) = probe({**FILES, "/proc/12/environ": b""}).serving(8000)
    assert serving.source.pid == 12


def test_without_any_readable_environment_there_is_no_source():
    (serving,) = probe({**FILES, "/proc/1/environ": b"\0\0"}).serving(8000)
    assert serving.source is None


def test_a_process_that_cannot_be_read_is_not_replaced_by_its_parent():
    hidden = {name: data for name, data in FILES.items() if name != "/proc/12/environ"}
    (serving,) = probe(hidden).serving(8000)
    assert serving.source is None


def test_users_are_read_from_the_listing_of_processes():
    assert processes.users(USERS) == {1: "0", 12: "1000"}


def test_while_nothing_listens_there_is_no_answer():
    assert probe(FILES).serving(9000) is None


@pytest.mark.parametrize("spelling", [("--tp", "8"), ("--tp=8",)])
def test_an_option_is_found_in_either_spelling(spelling):
    found = process(["python", "-m", "server", "--port", "1", "--tp", "8", "--flag"])
    assert list(argument_differences(spelling, found)) == []


def test_the_parallelism_of_another_role_is_named():
    (sentence,) = argument_differences(["--tp", "8"], process(["server", "--tp", "4"]))
    assert sentence == "argument '--tp 4' is in the command line of process 12; asked for '--tp 8'"


def test_an_option_given_again_is_a_difference_because_the_last_one_counts():
    assert list(argument_differences(["--tp", "8"], process(["server", "--tp", "8", "--tp", "4"])))


def test_a_missing_argument_is_named():
    (sentence,) = argument_differences(["--trust-remote-code"], process(["server"]))
    assert sentence == "argument '--trust-remote-code' is missing in the command line of process 12"


OPTION = st.from_regex(r"--[a-z][a-z-]{0,8}", fullmatch=True)
VALUE = st.text(st.characters(exclude_characters="\0=", codec="utf-8"), max_size=8).filter(
    lambda text: not text.startswith("-")
)


@given(st.dictionaries(OPTION, st.lists(VALUE, max_size=2), max_size=5), st.data())
def test_what_was_asked_for_is_found_whatever_precedes_it(options, data):
    words = [word for option, values in options.items() for word in (option, *values)]
    before = [
        "launcher",
        *data.draw(st.lists(OPTION.filter(lambda option: option not in options), max_size=2)),
    ]
    assert list(argument_differences(words, process([*before, *words]))) == []
