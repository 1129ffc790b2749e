"""Signatures of AWS: the same as botocore's, kept where nothing changed, refused where they prove nothing."""

import random
import string
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from sallyport.wire import sigv4
from sallyport.wire.errors import WireError
from sallyport.wire.sigv4 import AwsKey, Head, Scope

AT = datetime(2026, 11, 21, 10, 20, 30, tzinfo=UTC)
HOST = "bedrock-runtime.eu-central-1.amazonaws.com"
_SECRET_CHARS = string.ascii_letters + string.digits + "+/"
_TEXT = string.printable[:95] + "äßé漢字🚚\N{SNOWMAN}"


def made_key(rng: random.Random, *, temporary: bool = False) -> AwsKey:
    known = ("ASIA" if temporary else "AKIA") + "".join(rng.choices(string.ascii_uppercase + "234567", k=16))
    token = "".join(rng.choices(_SECRET_CHARS + "=", k=rng.randint(100, 400))) if temporary else ""
    return AwsKey(known, "".join(rng.choices(_SECRET_CHARS, k=40)), token)


def by_botocore(
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    key: AwsKey,
    scope: Scope,
    at: datetime,
) -> str:
    """Return the Authorization header that botocore makes at a moment."""
    request = AWSRequest(method, url, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    signer = SigV4Auth(
        Credentials(key.access_key_id, key.secret, key.session_token or None), scope.service, scope.region
    )
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.headers["Authorization"])


def text(rng: random.Random, most: int = 20) -> str:
    return "".join(rng.choices(_TEXT, k=rng.randint(1, most)))


def generated(rng: random.Random) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Return method, path with query, headers (host apart) and body, of the odd kind."""
    parts = [
        rng.choice(
            ("model", "v1", "", ".", "..", quote(text(rng), safe=""), quote(text(rng), safe="~:@!$&'()*,;="))
        )
        for _ in range(rng.randint(1, 6))
    ]
    path = "/" + "/".join(parts) + rng.choice(("", "/"))
    pairs = [(text(rng, 8), text(rng)) for _ in range(rng.randint(0, 5))]
    pairs += rng.choices(pairs, k=rng.randint(0, 2)) if pairs else []
    query = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in pairs)
    headers = [("Content-Type", "application/json")]
    for number in range(rng.randint(0, 5)):
        # A blank of Unicode is left alone by AWS's rule and taken for space by botocore: none of them here.
        value = "".join(
            rng.choices(string.ascii_letters + string.digits + "  \t,;=\"'äé漢", k=rng.randint(0, 30))
        )
        headers.append(
            (
                rng.choice(
                    (f"X-Amz-Meta-{number}", f"x-amzn-Bedrock-{number}", f"My-Header{number}", "Accept")
                ),
                value,
            )
        )
    if rng.random() < 0.3:
        headers += [("X-Repeated", " b  c "), ("X-Repeated", "a")]
    return (
        rng.choice(("POST", "GET", "PUT")),
        f"{path}?{query}" if query else path,
        headers,
        text(rng, 2000).encode(),
    )


def test_a_thousand_odd_requests_get_the_signature_botocore_gives_them() -> None:
    rng = random.Random(4)
    for number in range(1000):
        method, path, headers, body = generated(rng)
        key = made_key(rng, temporary=number % 3 == 0)
        scope = Scope(
            rng.choice(("us-east-1", "eu-central-1", "us-gov-west-1")),
            rng.choice(("bedrock", "bedrock-mantle", "s3x")),
        )
        at = AT + timedelta(seconds=rng.randint(0, 10**8))
        fields = ((b"Host", HOST.encode()), *((n.encode(), v.encode()) for n, v in headers))
        names = [name.lower() for name, _ in fields]
        ours = dict(sigv4.sign(Head(method, path, fields), body, key, scope, at, names))[b"authorization"]
        assert ours.decode() == by_botocore(method, f"https://{HOST}{path}", headers, body, key, scope, at), (
            number,
            path,
            headers,
        )


def test_the_example_of_awss_own_test_suite() -> None:
    key = AwsKey("AKID" + "EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY" + "EXAMPLEKEY")
    head = Head("GET", "/", ((b"Host", b"example.amazonaws.com"),))
    signed = sigv4.sign(
        head, b"", key, Scope("us-east-1", "service"), datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    )
    assert signed[-1][1].endswith(b"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")


def client_call(
    key: AwsKey, body: bytes = b'{"a":1}', path: str = "/model/a%3A0/converse", **more: str
) -> Head:
    fields = (
        (b"host", HOST.encode()),
        (b"content-type", b"application/json"),
        *((n.replace("_", "-").encode(), v.encode()) for n, v in more.items()),
    )
    scope = Scope("eu-central-1", "bedrock")
    return Head("POST", path, sigv4.sign(Head("POST", path, fields), body, key, scope, AT, [b"content-type"]))


KEY = made_key(random.Random(7))


def test_a_good_signature_verifies_within_its_time_only() -> None:
    head, body = client_call(KEY), b'{"a":1}'
    signed = sigv4.read_signature(head.fields)
    assert signed.scope == Scope("eu-central-1", "bedrock")
    for seconds, why in ((0, ""), (899, ""), (-899, ""), (901, "date"), (-901, "date"), (10**7, "date")):
        assert sigv4.verify(signed, KEY, head, body, AT + timedelta(seconds=seconds)) == why


@given(st.data())
def test_no_changed_request_verifies(data: st.DataObject) -> None:
    body = b'{"messages":[{"role":"user"}]}'
    head = client_call(KEY, body, x_amz_meta="one two")
    signed = sigv4.read_signature(head.fields)
    what = data.draw(st.sampled_from(["body", "header", "path", "method", "secret", "added", "removed"]))
    key = KEY
    fields = list(head.fields)
    if what == "body":
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    elif what == "header":
        at = data.draw(st.integers(0, len(fields) - 2))
        name, value = fields[at]
        where = data.draw(st.integers(0, len(value)))
        fields[at] = (name, value[:where] + b"x" + value[where:])
    elif what == "path":
        head = Head(
            head.method, head.path + data.draw(st.sampled_from(["a", "/a", "?a=", "%20"])), head.fields
        )
    elif what == "method":
        head = Head("PUT", head.path, head.fields)
    elif what == "secret":
        key = AwsKey(KEY.access_key_id, KEY.secret[:-1] + ("A" if KEY.secret[-1] != "A" else "B"))
    elif what == "added":
        fields.append((b"x-amz-other", b"1"))
    else:
        fields = [field for field in fields if field[0] != b"content-type"]
    assert sigv4.verify(signed, key, Head(head.method, head.path, tuple(fields)), body, AT)


def test_a_signature_stays_good_where_nothing_that_it_covers_changes() -> None:
    head = client_call(KEY)
    signed = sigv4.read_signature(head.fields)
    after = Head("POST", head.path, (*head.fields, (b"accept-encoding", b"identity")))
    assert sigv4.is_intact(signed, head, b"x", after, b"x")
    assert not sigv4.is_intact(signed, head, b"x", after, b"y")
    dropped = Head("POST", head.path, tuple(f for f in head.fields if f[0] != b"content-type"))
    assert not sigv4.is_intact(signed, head, b"x", dropped, b"x")
    assert not sigv4.is_intact(signed, head, b"x", Head("POST", "/model/a:0/converse", head.fields), b"x")


def test_an_unsigned_body_may_change_and_gets_a_hash_when_it_is_signed_anew() -> None:
    fields = ((b"host", HOST.encode()), (b"X-Amz-Content-Sha256", b"UNSIGNED-PAYLOAD"))
    plain = Head("POST", "/", fields)
    assert sigv4.payload_hash(b"one", fields) == b"UNSIGNED-PAYLOAD"
    anew = sigv4.sign(plain, b"one", KEY, Scope("eu-west-1", "bedrock"), AT)
    assert sigv4.values_of(anew, b"x-amz-content-sha256") == (sigv4.payload_hash(b"one", ()),)


@pytest.mark.parametrize("kind", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-EVENTS"])  # fmt: skip
def test_bodies_that_are_signed_in_pieces_are_not_signed_anew(kind: str) -> None:
    fields = ((b"host", HOST.encode()), (b"x-amz-content-sha256", kind.encode()))
    with pytest.raises(WireError, match=r"sigv4\.payload"):
        sigv4.payload_hash(b"", fields)


GOOD = f"AWS4-HMAC-SHA256 Credential=AKIA{'A' * 16}/20261121/eu-central-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (GOOD.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "algorithm"),
        (GOOD.replace("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), "algorithm"),
        (GOOD.replace("host;", ""), "form"),
        (GOOD.replace("host;x-amz-date", "x-amz-date;host"), "form"),
        (GOOD.replace("host;", "host;host;"), "form"),
        (GOOD.replace("aws4_request", "aws5_request"), "form"),
        (GOOD + "0", "form"),
        (GOOD + ", Signature=" + "1" * 64, "form"),
        ("Bearer ABSK", "algorithm"),
    ],
)
def test_what_is_no_signature_of_version_4_is_not_read_as_one(value: str, reason: str) -> None:
    with pytest.raises(WireError, match=rf"sigv4\.{reason}$"):
        sigv4.read_signature(((b"Authorization", value.encode()),))
    with pytest.raises(WireError, match=r"sigv4\.several$"):
        sigv4.read_signature(((b"Authorization", GOOD.encode()), (b"authorization", value.encode())))


@pytest.mark.parametrize(
    ("fields", "path", "signed"),
    [
        (((b"Authorization", GOOD.encode()),), "/", True),
        (((b"authorization", b"aws4-ecdsa-p256-sha256 x"),), "/", True),
        (((b"authorization", b"Bearer x"), (b"authorization", b" AWS4-HMAC-SHA256 x")), "/", True),
        (((b"authorization", b"AWS AKIA:sig"),), "/", True),
        ((), "/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", True),
        ((), "/a?x%2Damz-signature=0", True),
        (((b"authorization", b"Bearer AWS4"),), "/x-amz-signature=1", False),
    ],
)  # fmt: skip
def test_every_kind_of_aws_signature_is_seen(fields: sigv4.Fields, path: str, signed: bool) -> None:
    assert sigv4.is_signed(fields, path) is signed


@given(st.text(max_size=200), st.text(max_size=80))
def test_reading_and_signing_anything_raises_nothing_but_a_wire_error(header: str, target: str) -> None:
    fields = ((b"host", b"h"), (b"authorization", header.encode("utf-8", "surrogatepass")))
    try:
        sigv4.read_signature(fields)
        sigv4.sign(Head("POST", "/" + target, fields), b"", KEY, Scope("r", "s"), AT)
    except WireError:
        pass


@given(st.binary(max_size=60))
def test_any_path_and_query_is_signed_one_way_or_refused(raw: bytes) -> None:
    target = "/" + raw.decode("utf-8", "surrogateescape")
    try:
        once = sigv4.sign(Head("POST", target, ((b"host", b"h"),)), b"", KEY, Scope("r", "s"), AT)
    except WireError:
        return
    assert once == sigv4.sign(Head("POST", target, ((b"host", b"h"),)), b"", KEY, Scope("r", "s"), AT)


@pytest.mark.parametrize("query", ["a=b+c", "a=%zz", "a=%2", "&a=1", "a=1&", "=1"])
def test_a_query_that_services_may_read_in_two_ways_is_not_signed(query: str) -> None:
    with pytest.raises(WireError, match=r"sigv4\.query"):
        sigv4.canonical_query(query)


def test_no_key_is_in_what_is_shown_of_it() -> None:
    key = made_key(random.Random(1), temporary=True)
    assert key.secret not in repr(key)
    assert key.session_token not in repr(key)
