"""An issuer of tokens for tests, written without the library that the gateway verifies with; and its forgers."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://idp.example.com/realms/corp"
AUDIENCE = "sallyport"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Idp:
    """Three keys, by kid: rsa, ec, ed."""

    def __init__(self, issuer: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.issuer, self.audience = issuer, audience
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.withdrawn: set[str] = set()

    def jwks(self) -> dict[str, Any]:
        public, point = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        ed = self.ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(public.n), "e": number(public.e)},
            {
                "kty": "EC",
                "kid": "ec",
                "alg": "ES256",
                "crv": "P-256",
                "x": b64(point.x.to_bytes(32, "big")),
                "y": b64(point.y.to_bytes(32, "big")),
            },
            {"kty": "OKP", "kid": "ed", "alg": "EdDSA", "crv": "Ed25519", "x": b64(ed)},
        ]
        return {"keys": [key for key in keys if key["kid"] not in self.withdrawn]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a good token; a change to None leaves one out."""
        now = int(time.time())
        found = {"iss": self.issuer, "aud": self.audience, "sub": "ada", "iat": now - 5, "exp": now + 600}
        return {k: v for k, v in (found | changes).items() if v is not None}

    def sign(self, data: bytes, algorithm: str = "RS256") -> bytes:
        if algorithm == "ES256":
            r, s = decode_dss_signature(self.ec.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if algorithm in ("EdDSA", "Ed25519"):
            return self.ed.sign(data)
        return self.rsa.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def compact(self, header: bytes, payload: bytes, algorithm: str = "RS256") -> str:
        """Sign any bytes as header and payload."""
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64(self.sign(signed.encode(), algorithm))}"

    def token(self, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good but for the changes. header: changes; a change to None leaves a member out."""
        kid = {"RS256": "rsa", "ES256": "ec"}.get(algorithm, "ed")
        full = {"alg": algorithm, "typ": "JWT", "kid": kid} | (header or {})
        head = {k: v for k, v in full.items() if v is not None}
        return self.compact(json.dumps(head).encode(), json.dumps(self.claims(**claims)).encode(), algorithm)


def forgeries(idp: Idp, thief: Idp) -> Iterator[tuple[str, str]]:
    """Yield tokens that prove nothing, by family and case. thief: has keys of its own under the same kids."""
    for family in (
        _unsigned, _confused, _kids, _brought_keys, _times, _audiences, _issuers, _thefts, _tampered, _forms, _json, _names
    ):  # fmt: skip
        for case, token in family(idp, thief):
            yield f"{family.__name__.strip('_')}: {case}", token


type Cases = Iterator[tuple[str, str]]


def _unsigned(idp: Idp, thief: Idp) -> Cases:
    payload = b64(json.dumps(idp.claims()).encode())
    good = idp.token().split(".")[2]
    for word in ("none", "None", "NONE", "nOnE", " none", "none ", "no\u0000ne", "", "null", "ｎone"):
        head = b64(json.dumps({"alg": word, "typ": "JWT", "kid": "rsa"}).encode())
        for name, signature in (("empty", ""), ("another's", good), ("junk", "AAAA")):
            yield f"{word!r} with {name} signature", f"{head}.{payload}.{signature}"
    for value in (None, 0, False, [], ["RS256"], {"alg": "RS256"}):
        yield f"alg {value!r}", idp.token(header={"alg": value})


def _confused(idp: Idp, thief: Idp) -> Cases:
    public = idp.rsa.public_key()
    secrets: dict[str, bytes] = {
        "spki pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "spki der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "pkcs1 pem": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "jwk": json.dumps(idp.jwks()["keys"][0]).encode(),
        "modulus": public.public_numbers().n.to_bytes(256, "big"),
        "modulus text": number(public.public_numbers().n).encode(),
        "nothing": b"",
    }
    for algorithm, digest in (
        ("HS256", hashlib.sha256),
        ("HS384", hashlib.sha384),
        ("HS512", hashlib.sha512),
    ):
        head = b64(json.dumps({"alg": algorithm, "typ": "JWT", "kid": "rsa"}).encode())
        signed = f"{head}.{b64(json.dumps(idp.claims()).encode())}"
        for name, secret in secrets.items():
            yield (
                f"{algorithm} with {name}",
                f"{signed}.{b64(hmac.new(secret, signed.encode(), digest).digest())}",
            )
        name, secret = "stripped pem", secrets["spki pem"].strip()
        yield (
            f"{algorithm} with {name}",
            f"{signed}.{b64(hmac.new(secret, signed.encode(), digest).digest())}",
        )
    for said, signs in (("ES256", "RS256"), ("EdDSA", "RS256"), ("RS256", "ES256"), ("RS512", "RS256"), ("PS256", "RS256"), ("Ed448", "EdDSA"), ("ES256K", "ES256"), ("rs256", "RS256"), ("RS256 ", "RS256"), ("RSA-OAEP", "RS256"), ("dir", "RS256"), ("HS256", "RS256")):  # fmt: skip
        for kid in ("rsa", "ec", "ed"):
            yield f"{said} of {kid} signed as {signs}", idp.token(signs, {"alg": said, "kid": kid})


def _kids(idp: Idp, thief: Idp) -> Cases:
    for kid in (None, "", " rsa", "rsa ", "RSA", "rs", "rsa\u0000", "../rsa", "rsa' OR '1'='1", "r" * 300, 0, True, ["rsa"], {"kid": "rsa"}, "ｒsa", "/dev/null", "*", "ed", "ec"):  # fmt: skip
        yield f"{kid!r}", idp.token(header={"kid": kid})
        yield f"{kid!r} by the thief", thief.token(header={"kid": kid})


def _brought_keys(idp: Idp, thief: Idp) -> Cases:
    own = thief.jwks()["keys"][0]
    brought: dict[str, Any] = {
        "jku": "https://thief.example.com/keys",
        "x5u": "https://thief.example.com/cert",
        "jwk": own,
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "enc": "A128GCM",
        "epk": own,
        "cty": "JWT",
    }
    for name, value in brought.items():
        yield f"{name} by the thief", thief.token(header={name: value})
        yield f"{name} of a new kid by the thief", thief.token(header={name: value, "kid": "new"})
        yield f"{name} in a signed token", idp.token(header={name: value})
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", 1, ["JWT"]):
        yield f"typ {kind!r}", idp.token(header={"typ": kind})


def _times(idp: Idp, thief: Idp) -> Cases:
    now = int(time.time())
    for exp in (now - 61, now - 3600, now - 10**8, 0, -1, str(now + 600), True, [now + 600], {}, 2**53 + 2, -(2**70), "", "never"):  # fmt: skip
        yield f"exp {exp!r}", idp.token(exp=exp)
    yield "no exp", idp.token(exp=None)
    for name in ("nbf", "iat"):
        for at in (now + 120, now + 10**8, str(now), True, [now], -5, 2**53 + 2, {}):
            yield f"{name} {at!r}", idp.token(**{name: at})
    for raw in (b"1e400", b"NaN", b"Infinity", b"-Infinity", b"null", b"9" * 5000):
        payload = json.dumps(idp.claims(exp="@")).encode().replace(b'"@"', raw)
        yield f"exp {raw[:12]!r}", idp.compact(b'{"alg":"RS256","kid":"rsa"}', payload)


def _audiences(idp: Idp, thief: Idp) -> Cases:
    good = idp.audience
    for aud in (None, "", "other", [], ["other"], [good, 1], {good: 1}, 5, True, good.upper(), f" {good}", f"{good} ", f"{good}\u0000", f"{good},other", [[good]], good[:-1], f"{good}x", f"https://{good}", "*", "ѕallyport"):  # fmt: skip
        yield f"{aud!r}", idp.token(aud=aud)


def _issuers(idp: Idp, thief: Idp) -> Cases:
    good = idp.issuer
    for iss in (None, "", f"{good}/", good.upper(), good.replace("https", "http"), f"{good} ", f" {good}", [good], {"iss": good}, 1, f"{good}?x", f"{good}#x", good.replace("e", "е"), f"{good}\u0000", good[:-1], "https://thief.example.com", good.replace("corp", "master")):  # fmt: skip
        yield f"{iss!r}", idp.token(iss=iss)


def _thefts(idp: Idp, thief: Idp) -> Cases:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        yield f"another's key, {algorithm}", thief.token(algorithm)
        yield (
            f"another's key and issuer, {algorithm}",
            thief.token(algorithm, iss="https://thief.example.com"),
        )
        for name in ("root", "bob", "admin"):
            yield f"another's key as {name}, {algorithm}", thief.token(algorithm, sub=name)


def _tampered(idp: Idp, thief: Idp) -> Cases:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        head, payload, signature = idp.token(algorithm).split(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        for at in range(0, len(raw), max(1, len(raw) // 8)):
            broken = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            yield f"{algorithm} signature, byte {at}", f"{head}.{payload}.{b64(broken)}"
        for name, changed in (("short", raw[:-1]), ("long", raw + b"\0"), ("zero", bytes(len(raw))), ("ones", b"\xff" * len(raw)), ("half", raw[: len(raw) // 2])):  # fmt: skip
            yield f"{algorithm} signature, {name}", f"{head}.{payload}.{b64(changed)}"
        other = b64(json.dumps(idp.claims(sub="root")).encode())
        yield f"{algorithm} other claims", f"{head}.{other}.{signature}"
        yield f"{algorithm} other header", f"{b64(b'{}')}.{payload}.{signature}"
        spaced = b64(base64.urlsafe_b64decode(head + "==").replace(b"{", b"{ "))
        yield f"{algorithm} header with a blank", f"{spaced}.{payload}.{signature}"
    head, payload, _ = idp.token("ES256").split(".")
    der = idp.ec.sign(f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    yield "ES256 signature as DER", f"{head}.{payload}.{b64(der)}"


def _forms(idp: Idp, thief: Idp) -> Cases:
    good = idp.token()
    head, payload, signature = good.split(".")
    ways: dict[str, str] = {
        "two parts": f"{head}.{payload}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{good}.{signature}.{signature}",
        "no signature": f"{head}.{payload}.",
        "no payload": f"{head}..{signature}",
        "no header": f".{payload}.{signature}",
        "padded": f"{head}.{payload}.{signature}==",
        "dot before": f".{good}",
        "dot after": f"{good}.",
        "blank inside": f"{head}. {payload}.{signature}",
        "comma": f"{good},{good}",
        "twice": f"{good} {good}",
        "bearer twice": f"Bearer Bearer {good}",
        "bearer and two blanks": f"Bearer  {good}",
        "basic": f"Basic {good}",
        "token": f"Token {good}",
        "quoted": f'"{good}"',
        "lower case": good.lower(),
        "upper case": good.upper(),
        "percent": good.replace(".", "%2E"),
        "classic base64": f"{head}.{payload}.{signature[:-4]}+/+/",
        "json form": json.dumps({"protected": head, "payload": payload, "signature": signature}),
        "word": "token",
        "bearer alone": "Bearer",
        "api key": "sk-" + "a" * 40,
        "long": f"{head}.{'A' * 17_000}.{signature}",
    }
    yield from ways.items()
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelt = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    yield "another spelling of the signature", f"{head}.{payload}.{respelt}"


def _json(idp: Idp, thief: Idp) -> Cases:
    head = b'{"alg":"RS256","kid":"rsa"}'
    good = json.dumps(idp.claims()).encode()
    payloads: dict[str, bytes] = {
        "sub twice": good[:-1] + b',"sub":"root"}',
        "iss twice": good[:-1] + b',"iss":"x"}',
        "exp twice": good[:-1] + b',"exp":99999999999}',
        "aud twice": good[:-1] + b',"aud":"sallyport"}',
        "sub twice, escaped": good[:-1] + rb',"s\u0075b":"root"}',
        "nested twice": good[:-1] + b',"a":{"b":1,"b":2}}',
        "a list": b"[" + good + b"]",
        "a text": b'"ada"',
        "empty": b"{}",
        "nothing": b"null",
        "mark in front": b"\xef\xbb\xbf" + good,
        "utf-16": good.decode().encode("utf-16"),
        "not utf-8": good.replace(b"ada", b"ad\xff"),
        "two documents": good + good,
        "comment": good + b"// x",
        "comma at the end": good[:-1] + b",}",
        "single quotes": good.replace(b'"', b"'"),
        "deep": good[:-1] + b',"x":' + b"[" * 60 + b"]" * 60 + b"}",
        "very deep": good[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    }
    for name, payload in payloads.items():
        yield f"payload: {name}", idp.compact(head, payload)
    for name, odd in {
        "alg twice": b'{"alg":"RS256","kid":"rsa","alg":"none"}',
        "kid twice": b'{"alg":"RS256","kid":"x","kid":"rsa"}',
        "a list": b'[{"alg":"RS256","kid":"rsa"}]',
        "not json": b"alg=RS256",
        "trailing": head + b"x",
    }.items():
        yield f"header: {name}", idp.compact(odd, good)


def _names(idp: Idp, thief: Idp) -> Cases:
    """Tokens that are signed, for names that nobody can have: what an issuer lets people choose is no proof."""
    for name in ("", " ", " ada", "ada ", "ada\u0000", "ada\nroot", "ada\r\nX-User: root", "аda", "ａda", "ada\u200b", "ad\u0061\u0301", "\u202eada", "ada\u00a0", "ada\ufeff", "a" * 201, "\ud800", "ada\x7f", "ada\t", "ada  lovelace", 1, True, ["ada"], {"sub": "ada"}, 0.5):  # fmt: skip
        yield f"{name!r}", idp.token(sub=name)
    yield "no sub", idp.token(sub=None)


def examples(now: int) -> dict[str, tuple[dict[str, Any], str]]:
    """Tokens as five products issue them: claims, and the identity.tokens entry (YAML) that reads them.

    Shapes after the products' own documentation, 2026; every value is made up.
    """
    times = {"iat": now - 10, "exp": now + 600}
    return {
        "okta": (
            {"ver": 1, "jti": "AT.x", "iss": "https://corp.okta.example/oauth2/default", "aud": "api://sallyport", "cid": "0oa1", "uid": "00u1AbC", "scp": ["openid"], "sub": "ada@example.com", "groups": ["Everyone", "AI Users"]} | times,
            "issuer: https://corp.okta.example/oauth2/default\naudience: [api://sallyport]\n"
            "claims: {id: uid, kind: subject}\ngroups: {claim: groups, roles: {AI Users: [developer]}}",
        ),
        "entra": (
            {"aud": "api://sallyport", "iss": "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", "nbf": now - 10, "name": "Ada", "oid": "00000000-0000-0000-66f3-3332eca7ea81", "preferred_username": "ada@example.com", "rh": "0.A", "scp": "use", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "tid": "9188040d-6c67-4c5b-b112-36a304b66dad", "uti": "x", "ver": "2.0", "roles": ["AI.Use"]} | times,
            "issuer: https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0\n"
            "audience: [api://sallyport]\nclaims: {id: oid, required: [{claim: ver, one_of: ['2.0']}]}\n"
            "groups: {claim: roles, roles: {AI.Use: [developer]}}",
        ),
        "auth0": (
            {"iss": "https://corp.eu.auth0.example/", "sub": "auth0|62f1", "aud": ["https://sallyport", "https://corp.eu.auth0.example/userinfo"], "azp": "x", "scope": "openid", "https://corp.example/roles": ["ai"], "email": "ada@example.com", "email_verified": True} | times,
            "issuer: https://corp.eu.auth0.example/\naudience: [https://sallyport]\nclaims: {id: email}\n"
            "groups: {claim: https://corp.example/roles, roles: {ai: [developer]}}",
        ),
        "keycloak": (
            {"jti": "x", "iss": "https://sso.example.com/realms/corp", "aud": "account", "sub": "f3c1", "typ": "Bearer", "azp": "cli", "realm_access": {"roles": ["offline_access", "ai"]}, "resource_access": {"account": {"roles": ["view-profile"]}}, "preferred_username": "ada", "email_verified": False} | times,
            "issuer: https://sso.example.com/realms/corp\naudience: [account]\nclaims: {id: preferred_username}\n"
            "groups: {claim: /realm_access/roles, roles: {ai: [developer]}}",
        ),
        "kubernetes": (
            {"aud": ["sallyport"], "iss": "https://kubernetes.default.svc.cluster.local", "jti": "x", "kubernetes.io": {"namespace": "agents", "node": {"name": "n1", "uid": "u"}, "pod": {"name": "p", "uid": "u"}, "serviceaccount": {"name": "crawler", "uid": "u"}}, "nbf": now - 10, "sub": "system:serviceaccount:agents:crawler"} | times,
            "issuer: https://kubernetes.default.svc.cluster.local\naudience: [sallyport]\n"
            "claims: {tenant: /kubernetes.io/namespace, attributes: {account: /kubernetes.io/serviceaccount/name}}",
        ),
    }  # fmt: skip
