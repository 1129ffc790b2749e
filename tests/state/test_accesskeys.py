"""Access keys of AWS: read however AWS's tools write them, and made so that only their own gateway takes them."""

import json

import pytest

from sallyport.exchange import KeyForm
from sallyport.state.accesskeys import aws_key, flattened, is_access_key, new_access_key, own_access_key
from sallyport.state.credentials import checked_value
from sallyport.state.gatewaykeys import ACCESS_KEY, MIN_RANDOM_CHARS, form_of, new_gateway_key
from sallyport.wire.sigv4 import AwsKey

OWN, OTHER = b"o" * 32, b"x" * 32
ID, TEMPORARY = "AKIA" + "ABCD" * 4, "ASIA" + "ABCD" * 4
SECRET, TOKEN = "aB3/+" * 8, "tOk/en+=" * 20


def written(**members: object) -> str:
    return json.dumps({"Version": 1, "AccessKeyId": ID, "SecretAccessKey": SECRET, **members}, indent=2)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"{ID}:{SECRET}", AwsKey(ID, SECRET)),
        (f" {TEMPORARY}:{SECRET}:{TOKEN}\n", AwsKey(TEMPORARY, SECRET, TOKEN)),
        (written(), AwsKey(ID, SECRET)),
        (written(SessionToken=TOKEN, Expiration="2026-11-21T12:00:00Z"), AwsKey(ID, SECRET, TOKEN)),
        (written(SessionToken=None), AwsKey(ID, SECRET)),
        (written(SessionToken=""), AwsKey(ID, SECRET)),
        (f'{{"Credentials": {written(SessionToken=TOKEN)}}}', AwsKey(ID, SECRET, TOKEN)),
    ],
    ids=["short", "short-temporary", "json", "json-temporary", "json-null", "json-empty", "sts"],
)
def test_an_access_key_is_read_as_awss_tools_write_it(text: str, key: AwsKey) -> None:
    assert aws_key(checked_value(text)) == key


@pytest.mark.parametrize(
    "text",
    [
        "{", "{}", "[]", '{"AccessKeyId": 3, "SecretAccessKey": 4}', '{"Credentials": 7}',
        written(AccessKeyId="x"), written(SecretAccessKey=[SECRET]), written(SessionToken="a b"),
    ],
)  # fmt: skip
def test_what_is_no_access_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as error:
        checked_value(text)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "text", ["sk-proj-abcdefgh", "ABSKabcdefgh", f"{ID}:", f"{ID}:{SECRET}:x", f"x{ID}:{SECRET}", ID]
)
def test_other_credentials_are_no_access_keys(text: str) -> None:
    assert aws_key(text) is None
    assert flattened(text) == text


def test_a_new_key_is_known_by_its_own_gateway_and_has_a_secret_nobody_stores() -> None:
    made = {new_access_key(OWN) for _ in range(20)}
    assert len({key.access_key_id for key in made}) == len({key.secret for key in made}) == 20
    for key in made:
        assert is_access_key(key.access_key_id)
        assert len(key.access_key_id) <= 128
        assert len(key.secret) == 40
        assert form_of(OWN, key.access_key_id) is KeyForm.GATEWAY
        assert form_of(OTHER, key.access_key_id) is KeyForm.FORGED
        assert own_access_key(OWN, key.access_key_id) == key
        assert own_access_key(OTHER, key.access_key_id).secret != key.secret
    assert ACCESS_KEY.random_chars >= MIN_RANDOM_CHARS


def test_other_gateway_keys_are_no_access_keys() -> None:
    assert not any(
        is_access_key(new_gateway_key(OWN, name)) for name in ("bedrock", "openai", "gemini", "other")
    )


def test_nothing_shows_a_secret() -> None:
    key = new_access_key(OWN)
    assert key.secret not in f"{key!r}{key}"
