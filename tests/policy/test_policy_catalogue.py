"""The provider catalogue: what is written matches, everything else does not."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.exchange import Operation
from sallyport.policy.catalogue import Catalogue, Endpoint, Miss, Provider, ProviderKind, load_catalogue
from sallyport.policy.hosts import HostError
from sallyport.policy.problems import PolicyError
from sallyport.policy.providers import read_providers

FOLDER = rules_dir() / "providers"
CATALOGUE = load_catalogue(FOLDER)
ENTRIES = read_providers([FOLDER]).providers
MATCH = [(e.name, x) for e in ENTRIES for x in e.examples.match]
PASS = [(e.name, x) for e in ENTRIES for x in e.examples.passes]


def split(call: str) -> tuple[str, str, str]:
    """Return method, host and target of "METHOD https://host/target"."""
    method, url = call.split(" ")[:2]
    host, slash, rest = url.removeprefix("https://").partition("/")
    return method, host, slash + rest


def find(call: str, catalogue: Catalogue = CATALOGUE) -> Endpoint | None:
    method, host, target = split(call)
    provider = catalogue.provider(host)
    return provider.endpoint(method, target) if provider is not None else None


@pytest.mark.parametrize(("name", "call"), MATCH, ids=lambda v: v)
def test_a_match_example_reaches_its_dialect_and_operation(name: str, call: str) -> None:
    _, _, dialect, operation = call.split(" ")
    provider = CATALOGUE.provider(split(call)[1])
    endpoint = find(call)
    assert provider is not None
    assert provider.name == name
    assert endpoint is not None
    assert (endpoint.dialect, endpoint.operation) == (dialect, operation)


@pytest.mark.parametrize(("name", "call"), PASS, ids=lambda v: v)
def test_a_pass_example_reaches_no_endpoint(name: str, call: str) -> None:
    try:
        assert find(call) is None
    except HostError:
        assert name


def test_every_provider_with_endpoints_has_both_kinds_of_examples() -> None:
    for entry in ENTRIES:
        if entry.endpoints:
            assert entry.examples.match, entry.name
            assert entry.examples.passes, entry.name


def test_every_dialect_of_the_catalogue_is_reached_by_some_example() -> None:
    used = {e.dialect for entry in ENTRIES for e in entry.parsed_endpoints}
    assert used == {call.split(" ")[2] for _, call in MATCH}


ROUTES = [(entry.name, e.method, e.path) for entry in ENTRIES for e in entry.parsed_endpoints]
FILLED = {
    "{model}": "gpt-4o",
    "{deployment}": "prod",
    "{project}": "acme-1",
    "{location}": "us-east1",
    "{id}": "42",
    "{inner_id}": "43",
    "{bedrock_model}": "a.b-v1%3A0",
    "{embedding_model}": "text-embedding-005",
    "{image_model}": "imagen-4",
}
BEFORE = (
    "/",
    "/.",
    "/x/..",
    "/%2e",
    "/%2E%2E",
    "//x",
    "/%2f",
    "\\",
    "\t",
    " ",
    "https://api.openai.com",
    "é",
)
AFTER = (
    "/", "//", "/.", "/..", "/../x", ";a=b", ";", "%00", "\0", "%20", " ", "\n", "\r\nX: y", "#x", "é",
    "%c3%a9", "%", "%2", "?x=4111111111111111", "?&", "?=", "?a", "?key=%41", "??", "?alt=sse&alt=sse",
    "&a=b", "x", "%2F..%2F",
)  # fmt: skip


@pytest.mark.parametrize(("name", "method", "path"), ROUTES)
def test_no_other_spelling_of_an_endpoint_matches(name: str, method: str, path: str) -> None:
    plain = path
    for hole, value in FILLED.items():
        plain = plain.replace(hole, value)
    provider = CATALOGUE.named(name)
    assert provider is not None
    found = provider.endpoint(method, plain)
    assert found is not None
    assert found.template == path
    inside = [plain.replace("/", other) for other in ("//", "/./", "/x/../", "%2F", "%2f", "\\", "/;", "/%")]
    others = [p + plain for p in BEFORE] + [plain + a for a in AFTER] + inside
    for other in (*others, plain[1:], plain[:-1], plain.upper(), ""):
        again = provider.endpoint(method, other)
        assert again is None or again.captured != found.captured, other
    for verb in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE", method.lower(), " GET", ""):
        assert provider.endpoint(verb, plain) is None or (name, verb, path) in ROUTES


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/v1/../v1/chat/completions", "path.dot_segment"),
        ("//v1/chat/completions", "path.double_slash"),
        ("/v1/%2e/chat/completions", "path.encoded"),
        ("/v1%2fchat/completions", "path.encoded"),
        ("/v1/chat/completions;a", "path.parameters"),
        ("/v1/chat\\completions", "path.charset"),
        ("/v1/chat/completions\x7f", "path.charset"),
        ("v1/chat/completions", "path.form"),
        ("*", "path.form"),
        ("/" + "a" * 3000, "path.length"),
        ("/v1/chat/completions?x=1", "unknown_query"),
        ("/v1/chat/completions/", "unknown_path"),
        ("/v1/threads", "unknown_path"),
        ("/v1/models", "unknown_method"),
    ],
)
def test_a_miss_says_why(target: str, reason: str) -> None:
    provider = CATALOGUE.provider("api.openai.com")
    assert provider is not None
    assert provider.resolve("POST", target) == Miss(reason)


def test_model_and_stream_come_from_the_path_where_the_provider_keeps_them_there() -> None:
    gemini = find(
        "POST https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    )
    assert gemini is not None
    assert (gemini.model, gemini.stream) == ("gemini-2.5-pro", True)
    azure = find(
        "POST https://acme.openai.azure.com/openai/deployments/gpt4o-prod/chat/completions?api-version=2024-10-21"
    )
    assert azure is not None
    assert (azure.model, azure.stream) == ("gpt4o-prod", None)
    vertex = find(
        "POST https://aiplatform.googleapis.com/v1/projects/p1/locations/global/publishers/anthropic/models/claude-opus-4@20250514:streamRawPredict"
    )
    assert vertex is not None
    assert (vertex.model, vertex.stream, vertex.dialect) == (
        "claude-opus-4@20250514",
        True,
        "anthropic_messages",
    )
    plain = find("POST https://api.openai.com/v1/chat/completions")
    assert plain is not None
    assert (plain.model, plain.stream, plain.captured) == (None, None, ())


def test_a_bedrock_model_id_is_decoded_and_only_an_arn_may_hold_a_slash() -> None:
    base = "POST https://bedrock-runtime.us-east-1.amazonaws.com/model/"
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-3-v1%3A0"
    found = find(f"{base}{arn}/converse-stream")
    assert found is not None
    assert (
        found.model == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-v1:0"
    )
    tricks = ("a%2Fconverse", "%2F..%2Fx", "a%2f%2e%2e", "arn%3Aaws%3As3%3A%3A%3Abucket%2Fx", arn + "%2Fmore")
    for trick in (*tricks, "a%3A", "a%253A0", "..", "a:b:c:d"):
        assert find(f"{base}{trick}/converse") is None, trick


def test_what_the_client_chose_is_captured_for_a_scan_and_credentials_are_not() -> None:
    found = find(
        "POST https://generativelanguage.googleapis.com/v1/models/gemini-2.5-pro:generateContent?key=AIzaSyA1234567890&alt=json"
    )
    assert found is not None
    assert found.captured == (("model", "gemini-2.5-pro"), ("alt", "json"))


@pytest.mark.parametrize(
    "host", ["auth.openai.com", "mtls.auth.openai.com", "authenticator.cursor.sh", "AUTH.OpenAI.com."]
)
def test_sign_in_hosts_are_no_ai_hosts_even_below_a_wildcard(host: str) -> None:
    assert CATALOGUE.provider(host) is None
    assert CATALOGUE.sign_in(host)


WEB_HOSTS = """chatgpt.com ws.chatgpt.com claude.ai gemini.google.com copilot.microsoft.com api2.cursor.sh
    server.codeium.com api.replicate.com q.us-east-1.amazonaws.com"""
OTHER_HOSTS = """example.com www.google.com github.com pypi.org s3.us-east-1.amazonaws.com 10.0.0.1
    storage.googleapis.com"""


@pytest.mark.parametrize("host", WEB_HOSTS.split())
def test_web_apps_and_assistants_are_known_without_being_readable(host: str) -> None:
    provider = CATALOGUE.provider(host)
    assert provider is not None
    assert not provider.inspected
    assert provider.endpoint("POST", "/v1/chat/completions") is None


@pytest.mark.parametrize("host", OTHER_HOSTS.split())
def test_the_rest_of_the_internet_is_nobodys(host: str) -> None:
    assert CATALOGUE.provider(host) is None
    assert not CATALOGUE.sign_in(host)
    assert not CATALOGUE.hides_name(host)


def test_ech_public_names_are_known() -> None:
    assert CATALOGUE.hides_name("cloudflare-ech.com")
    assert CATALOGUE.hides_name("Cloudflare-ECH.com.")
    assert not CATALOGUE.hides_name("cloudflare.com")


def test_a_provider_says_where_its_keys_travel() -> None:
    by_name = {name: CATALOGUE.named(name) for name in ("anthropic", "gemini", "bedrock", "chatgpt")}
    anthropic, gemini, bedrock, chatgpt = by_name.values()
    assert anthropic is not None and gemini is not None and bedrock is not None and chatgpt is not None  # noqa: PT018
    assert set(anthropic.credentials.headers) == {"x-api-key", "authorization"}
    assert gemini.credentials.query == ("key",)
    assert "sigv4" in bedrock.credentials.schemes
    assert chatgpt.kind is ProviderKind.WEB


def test_every_listed_host_belongs_to_the_provider_that_lists_it() -> None:
    for entry in ENTRIES:
        for pattern in entry.hosts:
            host = pattern.replace("*.", "x.", 1)
            for hole in ("{region}", "{location}", "{subdomain}"):
                host = host.replace(hole, "us-east1")
            provider = CATALOGUE.provider(host)
            assert provider is not None
            assert provider.name == entry.name


@given(
    st.text(alphabet="abc./%2eEfF?&=;:#\\ v1chatompletins", max_size=40),
    st.sampled_from(sorted(p.name for p in CATALOGUE)),
)
def test_random_targets_match_or_miss_and_never_raise(tail: str, name: str) -> None:
    provider = CATALOGUE.named(name)
    assert provider is not None
    found = provider.resolve("POST", "/v1/" + tail)
    if isinstance(found, Endpoint):
        assert ".." not in tail.split("/")
        assert found.operation in Operation


def test_lookups_take_microseconds() -> None:
    host, target = (
        "us-central1-aiplatform.googleapis.com",
        "/v1/projects/p1/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent",
    )
    start = time.process_time()
    for _ in range(5_000):
        provider = CATALOGUE.provider(host)
        assert provider is not None
        provider.endpoint("POST", target)
    assert (time.process_time() - start) / 5_000 < 200e-6


def test_the_whole_catalogue_loads_in_less_than_a_second() -> None:
    start = time.process_time()
    load_catalogue(FOLDER)
    assert time.process_time() - start < 1


GOOD = "name: acme\ntitle: Acme\nhosts: [api.acme.example]\nendpoints:\n  POST /v1/chat: openai_chat\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("openai_chat", "openai_chta"), "Did you mean `openai_chat`?"),
        (GOOD.replace("openai_chat", "opaque"), "must say its operation"),
        (GOOD.replace("POST /v1/chat", "PUT /v1/chat"), "`GET /path`, `POST /path`"),
        (GOOD.replace("/v1/chat", "/v1/../chat"), "path is not plain"),
        (GOOD.replace("/v1/chat", "/v1/{nmae}"), "no hole {nmae}"),
        (GOOD.replace("/v1/chat", "/{id}/{id}"), "twice"),
        (GOOD.replace("/v1/chat", "/v1/chat?x"), "no query"),
        (GOOD.replace("openai_chat", "{dialect: openai_chat, query: {x: any}}"), "unknown shape"),
        (GOOD.replace("api.acme.example", "acme"), "whole name"),
        (GOOD.replace("title", "titel"), "Did you mean `title`?"),
        ("providers: 3", "must be a list"),
        ("", "must hold keys"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_provider_file_is_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(text)
    with pytest.raises(PolicyError) as error:
        load_catalogue(tmp_path)
    assert says in str(error.value)
    assert "providers/acme.yaml:" in str(error.value)


def test_a_provider_of_ones_own_is_one_file_and_cannot_take_a_known_host(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(GOOD)
    both = load_catalogue(FOLDER, tmp_path)
    assert find("POST https://api.acme.example/v1/chat", both) is not None
    assert len(both) == len(CATALOGUE) + 1
    (tmp_path / "acme.yaml").write_text(GOOD.replace("api.acme.example", "api.openai.com"))
    with pytest.raises(PolicyError, match="listed twice"):
        load_catalogue(FOLDER, tmp_path)
    (tmp_path / "acme.yaml").write_text(GOOD.replace("name: acme", "name: openai"))
    with pytest.raises(PolicyError, match="used twice"):
        load_catalogue(FOLDER, tmp_path)
    with pytest.raises(PolicyError, match="no provider file"):
        load_catalogue(tmp_path / "empty")


@pytest.mark.parametrize("provider", [p for p in CATALOGUE if not p.inspected], ids=lambda p: p.name)
def test_a_host_that_no_dialect_reads_is_known_and_never_passes_for_any_web_site(provider: Provider) -> None:
    for pattern in provider.hosts:
        host = pattern.replace("*.", "any.").replace("{region}", "eu-west-1")
        assert CATALOGUE.provider(host) is provider
        assert not CATALOGUE.sign_in(host)
    for method, target in (
        ("POST", "/v1/chat/completions"),
        ("GET", "/"),
        ("POST", "/a.B/C"),
        ("CONNECT", "*"),
    ):
        assert isinstance(provider.resolve(method, target), Miss)
