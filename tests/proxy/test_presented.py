"""Which credentials a request carries: the same one under every spelling of a header."""

import pytest
from mitmproxy.http import Request

from sallyport.exchange import KeyForm
from sallyport.policy.catalogue import Credentials
from sallyport.proxy.broker import Presented, presented
from sallyport.state.accesskeys import new_access_key
from sallyport.state.gatewaykeys import new_gateway_key
from sallyport.state.keyed import fingerprint

SECRET = b"k" * 32
WHERE = Credentials(headers=("authorization", "x-api-key"), query=("key",), schemes=("bearer", "key"))


def asking(headers: list[tuple[str, str]], path: str = "/v1/chat/completions") -> Request:
    fields = tuple((name.encode(), value.encode()) for name, value in headers)
    made = Request.make("POST", f"https://api.example.com{path}", b"{}")
    made.headers.fields = fields
    return made


@pytest.mark.parametrize(
    "value",
    [
        "Bearer {}", "bearer {}", "BEARER  {}", "Bearer\t{}", "Bearer \t {}\t", "{}", " {} ", "Token {}", "ApiKey {}",
        "Key\t{}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("issued", [True, False], ids=["gateway", "provider"])
def test_a_credential_is_known_however_its_header_is_spelt(value: str, issued: bool) -> None:
    key = new_gateway_key(SECRET, "openai") if issued else "sk-proj-" + "a1B2" * 30
    shown = presented(asking([("Authorization", value.format(key))]), WHERE, SECRET)
    assert shown.fingerprints == (fingerprint(SECRET, key),)
    assert (shown.form is KeyForm.GATEWAY) is issued
    assert shown.gateway_key == (key if issued else "")


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer {}, Bearer {}")],
        [("authorization", "Bearer {} x")],
        [("authorization", "Bearer x {}")],
        [("authorization", "Token token={}")],
        [("authorization", 'Bearer "{}"')],
        [("api-key", "{}")],
        [("x-goog-api-key", "Bearer {}")],
    ],
)
def test_what_is_nearly_a_gateway_key_passes_for_nothing_else(headers: list[tuple[str, str]]) -> None:
    key = new_gateway_key(SECRET, "openai")
    shown = presented(asking([(name, value.replace("{}", key)) for name, value in headers]), WHERE, SECRET)
    assert (shown.form, shown.gateway_key) == (KeyForm.FORGED, "")


def test_one_gateway_key_twice_is_one_and_beside_another_credential_several() -> None:
    key = new_gateway_key(SECRET, "openai")
    both = [("authorization", f"Bearer {key}"), ("x-api-key", key), ("x-api-key", key)]
    assert presented(asking(both, f"/v1/x?key={key}"), WHERE, SECRET).gateway_key == key
    assert presented(asking(both, "/v1/x?key=other"), WHERE, SECRET).form is KeyForm.SEVERAL


def signature(access_key_id: str, separator: str = ", ") -> str:
    scope = f"Credential={access_key_id}/20261121/us-east-1/bedrock/aws4_request"
    return f"AWS4-HMAC-SHA256 {scope}{separator}SignedHeaders=host;x-amz-date{separator}Signature={'0' * 64}"


@pytest.mark.parametrize("separator", [", ", ","])
def test_an_access_key_of_the_gateway_is_known_where_it_signs(separator: str) -> None:
    key = new_access_key(SECRET)
    shown = presented(asking([("Authorization", signature(key.access_key_id, separator))]), WHERE, SECRET)
    assert (shown.form, shown.gateway_key) == (KeyForm.GATEWAY, key.access_key_id)
    assert shown.fingerprints == (fingerprint(SECRET, key.access_key_id),)


def test_the_id_of_an_access_key_alone_proves_nothing() -> None:
    known = new_access_key(SECRET).access_key_id
    for headers in (
        [("authorization", f"Bearer {known}")],
        [("x-api-key", known)],
        [("authorization", known)],
        [("authorization", signature(new_gateway_key(SECRET, "bedrock")))],
        [("authorization", signature(known[:-1] + ("a" if known[-1] != "a" else "b")))],
        [("authorization", signature(new_access_key(b"x" * 32).access_key_id))],
    ):
        assert presented(asking(headers), WHERE, SECRET).form is KeyForm.FORGED, headers
    beside = [("authorization", signature(known)), ("x-api-key", known)]
    assert presented(asking(beside), WHERE, SECRET).form is not KeyForm.PROVIDER


@pytest.mark.parametrize("separator", [", ", ","])
def test_signatures_with_one_access_key_have_one_key_id(separator: str) -> None:
    """Each is another credential, and proves nothing here; who signed is the same."""

    def shown(access_key_id: str, signed: str) -> Presented:
        value = signature(access_key_id, separator).replace("0" * 64, signed * 64)
        return presented(asking([("authorization", value)]), WHERE, SECRET)

    one, next_one = shown("AKIA" + "ABCD" * 4, "1"), shown("AKIA" + "ABCD" * 4, "2")
    assert one.fingerprints != next_one.fingerprints
    assert one.key_ids == next_one.key_ids == (fingerprint(SECRET, "AKIA" + "ABCD" * 4),)
    assert shown("AKIA" + "EFGH" * 4, "1").key_ids != one.key_ids


def test_any_other_credential_is_its_own_key_id() -> None:
    both = presented(asking([("authorization", "Bearer b"), ("x-api-key", "a")]), WHERE, SECRET)
    assert both.key_ids == both.fingerprints == tuple(sorted(fingerprint(SECRET, each) for each in "ab"))


def test_a_signature_with_aws_s_own_key_is_a_credential_of_the_provider() -> None:
    shown = presented(asking([("authorization", signature("AKIA" + "ABCD" * 4))]), WHERE, SECRET)
    assert (shown.form, shown.gateway_key) == (KeyForm.PROVIDER, "")
