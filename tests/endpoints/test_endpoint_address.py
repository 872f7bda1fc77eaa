import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.endpoints.address import Address, parse_url, resolve, server, servers
from pytest_bench.errors import EndpointError, UsageError

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?", fullmatch=True)
HOST = (
    st.lists(LABEL, min_size=1, max_size=3).map(".".join)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(lambda address: address.compressed)
)
PREFIX = st.lists(st.from_regex(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,6}", fullmatch=True), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(scheme=st.sampled_from(["http", "https"]), host=HOST, port=st.integers(1, 65535), prefix=PREFIX)
def test_an_address_is_read_back_from_its_own_url(scheme, host, port, prefix):
    address = Address(scheme=scheme, host=host, port=port, prefix=prefix)
    assert parse_url(address.url) == address


@given(
    st.text(max_size=60)
    | st.text(alphabet="htps:/[]@?#%.-0123456789", max_size=30).map(lambda rest: f"http://{rest}")
)
def test_any_text_is_an_address_or_a_usage_error(text):
    try:
        address = parse_url(text)
    except UsageError:
        return
    assert parse_url(address.url) == address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("HTTP://LocalHost:8000/", "http://localhost:8000"),
        ("http://h", "http://h"),
        ("http://h:80", "http://h"),
        ("https://h:443/team/model/", "https://h/team/model"),
        ("https://h:8443", "https://h:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[0:0:0:0:0:0:0:1]/v2", "http://[::1]/v2"),
        ("http://10.1.2.3:8000", "http://10.1.2.3:8000"),
        ("http://vllm_node-0:8000", "http://vllm_node-0:8000"),
    ],
)
def test_each_endpoint_has_one_spelling(text, url):
    assert parse_url(text).url == url


@pytest.mark.parametrize(
    "text", ["http://me:hunter2@h:8000", "http://me:hun/ter2@h", "http://me:hun?ter2@h", "me:hunter2@h"]
)
def test_credentials_are_refused_and_never_repeated(text):
    with pytest.raises(UsageError, match="api_key") as refusal:
        parse_url(text)
    assert "hun" not in str(refusal.value)


@pytest.mark.parametrize("text", ["http://h:8000/v1?key=hunter2", "http://h:8000#hunter2"])
def test_a_query_or_fragment_is_refused_with_the_remedy_and_not_repeated(text):
    with pytest.raises(UsageError, match="write 'http://h:8000") as refusal:
        parse_url(text)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("h:8000", "did you mean 'http://h:8000'"),
        ("localhost", "did you mean 'http://localhost'"),
        ("grpc://h:8000", "http or https, not grpc"),
        ("http://", "has no host"),
        ("http://:8000", "has no host"),
        ("http://h:0", "'0' is not a port"),
        ("http://h:65536", "'65536' is not a port"),
        ("http://h:http", "'http' is not a port"),
        ("http://h:", "'' is not a port"),
        ("http://h:-1", "'-1' is not a port"),
        ("http://::1:8000", "has no host"),
        ("http://[::1", "is not an endpoint URL"),
        ("http://[127.0.0.1]:80", "is not an IPv6 address"),
        ("http://[fe80::1%eth0]:80", "zones"),
        ("http://10.0.0.256", "is not an IPv4 address"),
        ("http://127.1", "is not an IPv4 address"),
        ("http://a b", "is not a host name"),
        ("http://h\\x", "is not a host name"),
        ("http://bücher.example", "xn--"),
        ("http://h/a b", "is not a path prefix"),
        ("http://h/a//b", "is not a path prefix"),
        ("http://h/a/../b", "is not a path prefix"),
        ("http://h/%zz", "is not a path prefix"),
        ("http://h\n", "is not a host name"),
    ],
)
def test_text_that_is_not_an_endpoint_is_refused_with_the_reason(text, says):
    with pytest.raises(UsageError) as refusal:
        parse_url(text)
    assert says in str(refusal.value)


def test_a_target_holds_the_apis_path_below_the_prefix():
    target = resolve(parse_url("http://127.0.0.1:8000/team"), "/v1/completions")
    assert (target.url, target.address, target.port, target.path) == (
        "http://127.0.0.1:8000/team",
        "127.0.0.1",
        8000,
        "/team/v1/completions",
    )


@pytest.mark.parametrize(
    ("url", "host", "server_name", "tls"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1", False),
        ("http://127.0.0.1", "127.0.0.1", "127.0.0.1", False),
        ("http://[::1]:8000", "[::1]:8000", "::1", False),
        ("https://127.0.0.1:8443", "127.0.0.1:8443", "127.0.0.1", True),
        ("https://[::1]", "[::1]", "::1", True),
    ],
)
def test_a_target_names_its_host_for_the_host_header_and_for_tls(url, host, server_name, tls):
    target = resolve(parse_url(url), "/")
    assert (target.host, target.server_name, target.tls) == (host, server_name, tls)


def test_a_name_with_several_addresses_means_the_one_that_accepts(serve):
    server = serve()
    target = resolve(parse_url(f"http://localhost:{server.port}"), "/")
    socket.create_connection((target.address, target.port), timeout=5).close()


def test_a_name_that_does_not_exist_is_an_error_naming_it():
    with pytest.raises(EndpointError, match=r"'nowhere\.invalid' cannot be looked up"):
        resolve(parse_url("http://nowhere.invalid:8000"), "/")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:8000/a/", {"127.0.0.1:8000"}),
        ("HTTPS://127.0.0.1", {"127.0.0.1:443"}),
        ("http://[0::1]:8000", {"[::1]:8000"}),
        ("http://nowhere.INVALID:8000", {"nowhere.invalid:8000"}),
        ("no endpoint", {"no endpoint"}),
    ],
)
def test_the_servers_of_a_url_are_identified_by_address_and_port(url, found):
    assert servers(url) == found


def test_the_servers_of_a_name_are_itself_and_all_of_its_addresses():
    assert {"localhost:8000", "127.0.0.1:8000"} <= servers("http://LOCALHOST:8000/")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://LOCALHOST/", "localhost:80"),
        ("https://a.test/prefix", "a.test:443"),
        ("http://[0::1]:8000", "[::1]:8000"),
        ("no endpoint", "no endpoint"),
    ],
)
def test_a_server_is_named_in_one_spelling_without_looking_it_up(url, named):
    assert server(url) == named
