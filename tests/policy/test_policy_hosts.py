"""Host names: every spelling of a host is that host, nothing else is."""

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sallyport.policy.hosts import HostError, HostMap, check_pattern, normalise_host

HOSTS = HostMap(
    [
        ("api.openai.com", "exact"),
        ("*.openai.azure.com", "below"),
        ("special.openai.azure.com", "special"),
        ("bedrock-runtime.{region}.amazonaws.com", "shaped"),
        ("{location}-aiplatform.googleapis.com", "part"),
        ("*.bedrock-runtime.{region}.vpce.amazonaws.com", "both"),
    ]
)


@pytest.mark.parametrize(
    ("host", "value"),
    [
        ("api.openai.com", "exact"),
        ("API.OpenAI.COM", "exact"),
        ("api.openai.com.", "exact"),
        ("ａｐｉ.openai.com", "exact"),
        ("api。openai．com", "exact"),
        ("API.OPENAI.COM\u3002", "exact"),
        ("api.op\u00adenai.com", "exact"),
        ("acme.openai.azure.com", "below"),
        ("a.b.c.openai.azure.com", "below"),
        ("special.openai.azure.com", "special"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "shaped"),
        ("us-central1-aiplatform.googleapis.com", "part"),
        ("vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "both"),
        ("api.openai.com.evil.com", None),
        ("notapi.openai.com", None),
        ("xapi.openai.com", None),
        ("openai.com", None),
        ("x.api.openai.com", None),
        ("api-openai.com", None),
        ("api.openai.comx", None),
        ("openai.azure.com", None),
        ("evilopenai.azure.com", None),
        ("acme.openai.azure.com.evil.net", None),
        ("bedrock-runtime.us.east.amazonaws.com", None),
        ("bedrock-runtime..amazonaws.com.evil.com", HostError),
        ("bedrock-runtime.-x.amazonaws.com", HostError),
        ("-aiplatform.googleapis.com", HostError),
        ("bedrock-runtime.x.vpce.amazonaws.com", None),
        ("xn--pi-7ka.openai.com", None),
        ("apı.openai.com", None),
        ("арі.openai.com", None),
        ("1.2.3.4", None),
        ("[2001:db8::1]", None),
        ("2001:DB8::1", None),
    ],
)
def test_a_host_matches_its_pattern_in_every_spelling_and_no_other(host: str, value: object) -> None:
    if value is HostError:
        with pytest.raises(HostError):
            normalise_host(host)
    else:
        assert HOSTS.get(normalise_host(host)) == value


NO_HOSTS = (
    "", ".", "..", ".com", "a..b", "api.openai.com..", "api.openai.com:443", "user@api.openai.com",
    "https://api.openai.com", "api.openai.com/", "api.openai.com\0.evil.com", "api.openai.com ",
    " api.openai.com", "api.openai.com\n", "api\\.openai.com", "api.openai.com%00", "api%2eopenai.com",
    "*.openai.com", "a" * 64 + ".com", "a." * 127 + "toolong", "é" * 300, "1.2.3", "1.2.3.4.5", "0x7f.1",
    "127.1", "2130706433", "0177.0.0.1", "0x7f000001", "[::1", "::1]", "::1%eth0.", "fe80::1%lo\0", "a:b",
    "api.openai.com\u2028", "\ud800.com",
)  # fmt: skip


@pytest.mark.parametrize("host", NO_HOSTS, ids=ascii)
def test_what_has_no_single_spelling_is_an_error_and_never_a_non_match(host: str) -> None:
    with pytest.raises(HostError):
        normalise_host(host)


NO_PATTERNS = (
    "", "*", "*.com", "com", "a.*.com", "*a.b.com", "a.b.", "a b.com", "http://a.b", "a.b:443", "a.{x}",
    "a.{x}.com", "{x.y.com", "a.{}.b.com", "-.b.com", "1 .b", "a.b/c",
)  # fmt: skip


@pytest.mark.parametrize("pattern", NO_PATTERNS)
def test_a_pattern_that_is_no_whole_name_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(pattern)


def test_a_pattern_may_not_be_given_twice_in_any_spelling() -> None:
    with pytest.raises(ValueError, match="twice"):
        HostMap([("a.b.com", 1), ("A.B.com", 2)])


def test_unicode_patterns_meet_their_a_labels() -> None:
    assert check_pattern("api.müller.example") == "api.xn--mller-kva.example"
    hosts = HostMap([("api.müller.example", 1)])
    assert hosts.get(normalise_host("API.MÜLLER.example")) == 1
    assert hosts.get(normalise_host("api.xn--mller-kva.example")) == 1


@given(st.text(max_size=80))
def test_random_text_is_a_host_or_a_host_error(text: str) -> None:
    try:
        once = normalise_host(text)
    except HostError:
        return
    assert once == normalise_host(once)
    assert once.isascii()
    assert once == once.lower()


_LABELS = st.text(alphabet="abcxyz-0129", min_size=1, max_size=8)


@given(st.lists(_LABELS, min_size=1, max_size=5).map(".".join), st.sampled_from(["", ".", "-"]))
def test_only_a_label_border_makes_a_subdomain(prefix: str, joint: str) -> None:
    host = f"{prefix}{joint}openai.azure.com"
    try:
        found = HOSTS.get(normalise_host(host))
    except HostError:
        assume(False)
    assert (found is not None) == (joint == ".")


def test_ten_thousand_hosts_are_looked_up_as_fast_as_ten() -> None:
    def cost(size: int) -> float:
        hosts = HostMap((f"h{i}.example{i}.com", i) for i in range(size))
        start = time.process_time()
        for _ in range(20_000):
            hosts.get("deep.er.sub.domain.unlisted.example.org")
        return time.process_time() - start

    assert cost(2_000) < 5 * cost(10) + 0.05


def test_a_name_of_many_labels_costs_no_more_than_a_dozen_lookups() -> None:
    host = normalise_host("a." * 100 + "openai.azure.com")
    start = time.process_time()
    for _ in range(1_000):
        assert HOSTS.get(host) == "below"
    assert time.process_time() - start < 0.5
