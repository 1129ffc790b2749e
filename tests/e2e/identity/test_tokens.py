"""Bearer tokens through the running gateway: keys by https, rotation, an issuer that is down, people of the directory."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import indent

import pytest

from e2e.identity.callers import end_of, environment, hup
from e2e.identity.speaking import Speaker
from e2e.traffic import OPENAI, eventually, running
from gateways import GatewayProcess
from issuing import AUDIENCE, ISSUER, Idp, examples
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory.people import put_person, put_tenant
from sallyport.state.directory.store import DirectoryStore


@dataclass
class Site:
    """The issuer's own https server. keys: what it answers; None answers 500."""

    idp: Idp
    ca: LabCa
    down: bool = False
    asked: int = 0
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked += 1
                data = json.dumps(site.idp.jwks()).encode()
                self.send_response(500 if site.down else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = self.ca.server_context("localhost")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}/keys"


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    made = Site(Idp(), lab.ca)
    yield made
    made.server.shutdown()
    made.server.server_close()


def policy(site: Site, *, refresh_s: float = 1, more: str = "", identity: str = "") -> str:
    entry = indent(more, "      ")
    return (
        f"version: 1\nidentity:\n{identity}  tokens:\n    - id: corp\n      issuer: {ISSUER}\n      audience: [{AUDIENCE}]\n"
        f"      keys: {{url: '{site.url}', ca_file: '{site.ca.certificate}', refresh_s: {refresh_s}}}\n{entry}\n"
    )


def say(gateway: GatewayProcess, model: str, token: str, **more: str | None) -> tuple[int, str]:
    speaker = Speaker(gateway)
    said = speaker.say(model, ("X-Sallyport-Token", token), **more)  # type: ignore[arg-type]
    speaker.close()
    return said.status, said.reason


def test_keys_come_by_https_and_a_rotation_takes_effect_both_ways(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path, lab, policy=policy(site)) as gateway:
        old = site.idp.token()
        assert say(gateway, "token-first", old) == (200, "")
        site.idp = Idp()
        new = site.idp.token()
        eventually(lambda: say(gateway, "token-new", new)[0] == 200, 8, "the new key is believed")
        assert say(gateway, "token-old", old) == (403, "identity.token_signature")
        site.idp.withdrawn = {"rsa", "ec", "ed"}
        eventually(
            lambda: say(gateway, "token-none", new) == (403, "identity.token_unknown_key"),
            8,
            "no key is believed",
        )


def test_a_gateway_starts_and_serves_while_the_issuer_is_down(site: Site, lab: Lab, tmp_path: Path) -> None:
    with running(tmp_path, lab, policy=policy(site)) as gateway:
        assert say(gateway, "token-before", site.idp.token()) == (200, "")
    site.down = True
    with running(tmp_path, lab, policy=policy(site)) as gateway:
        assert say(gateway, "token-down", site.idp.token("ES256")) == (200, "")
        eventually(lambda: site.asked > 2, 8, "the issuer is asked again")
        assert say(gateway, "token-down", site.idp.token()) == (200, "")
    for copy in (tmp_path / "conf" / "issuers").iterdir():
        copy.write_text(copy.read_text().replace('"at"', '"at "'))
    with running(tmp_path, lab, policy=policy(site)) as gateway:
        assert say(gateway, "token-tampered", site.idp.token()) == (403, "identity.token_unknown_key")


def test_a_server_that_the_authority_did_not_sign_gives_no_keys(site: Site, lab: Lab, tmp_path: Path) -> None:
    stranger = LabCa(tmp_path / "stranger")
    text = policy(site).replace(str(site.ca.certificate), str(stranger.certificate))
    with running(tmp_path, lab, policy=text) as gateway:
        assert say(gateway, "token-stranger", site.idp.token()) == (403, "identity.token_unknown_key")
        assert site.asked == 0


def test_people_of_the_directory_are_found_by_their_tokens(site: Site, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    store = DirectoryStore.open(tmp_path / "conf" / "audit.db")
    with store.change() as connection:
        put_tenant(connection, Tenant("maths", "Mathematics"))
        put_person(connection, Person("ada", "maths", ("chief",), names=(f"subject:{ISSUER}|00uA",)))
        put_person(connection, Person("gone", "maths", names=(f"subject:{ISSUER}|00uG",), active=False))
    more = "unlisted: deny\ngroups: {roles: {ai: [developer]}}"
    rules = (
        "access:\n  default: deny\n  rules:\n"
        "    - {id: staff, effect: permit, message: m, when: \"principal.tenant == 'maths' && 'chief' in principal.roles && "
        "'developer' in principal.roles\"}\n"
    )
    with running(tmp_path, lab, policy=policy(site, more=more) + rules) as gateway:
        idp = site.idp
        assert say(gateway, "token-listed", idp.token(sub="00uA", groups=["ai", "x"])) == (200, "")
        event = end_of(gateway, "token-listed")
        assert (event.principal, event.tenant, event.source) == ("ada", "maths", "token")
        assert say(gateway, "token-groupless", idp.token(sub="00uA"))[1] == "access.default"
        assert say(gateway, "token-case", idp.token(sub="00ua", groups=["ai"])) == (
            403,
            "identity.token_unlisted",
        )
        assert say(gateway, "token-gone", idp.token(sub="00uG", groups=["ai"])) == (
            403,
            "identity.inactive_person",
        )
        with store.change() as connection:
            put_person(
                connection,
                Person("ada", "maths", ("chief",), names=(f"subject:{ISSUER}|00uA",), active=False),
            )
        eventually(
            lambda: (
                say(gateway, "token-left", idp.token(sub="00uA", groups=["ai"]))[1]
                == "identity.inactive_person"
            ),
            5,
            "she has left",
        )
    store.close()


def test_a_reload_takes_an_issuer_away_and_a_bad_one_leaves_all_as_it_was(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path, lab, policy=policy(site)) as gateway:
        token = site.idp.token()
        assert say(gateway, "token-loaded", token) == (200, "")
        hup(
            gateway,
            policy(site).replace("keys: {url", "keys: {file: none.json, url"),
            tmp_path / "policy.yaml",
        )
        assert say(gateway, "token-bad-reload", token) == (200, "")
        hup(gateway, policy(site, more="max_age_s: 60\nleeway_s: 0"), tmp_path / "policy.yaml")
        assert say(gateway, "token-reloaded", site.idp.token(iat=1)) == (403, "identity.token_expired")
        assert say(gateway, "token-reloaded", token) == (200, "")
        hup(gateway, "version: 1\n", tmp_path / "policy.yaml")
        assert say(gateway, "token-gone", token) == (403, "identity.unknown")


def test_a_token_may_take_the_credential_s_place_and_does_not_reach_the_provider(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    more = "header: Authorization\ninstead_of_credential: true"
    with running(tmp_path, lab, policy=policy(site, more=more)) as gateway:
        speaker = Speaker(gateway)
        # The lab answers as a provider does where no credential came: the token did not become one.
        assert speaker.say("token-instead", credential=site.idp.token()).status == 401
        (seen,) = [r for r in lab.requests if b'"token-instead"' in r.body]
        assert seen.header("authorization") is None
        assert end_of(gateway, "token-instead").credential == ""
        assert speaker.say("token-key", credential="sk-test-EXAMPLE").reason == "identity.token_form"
        assert speaker.say("token-nothing", credential=None).reason == "identity.unknown"
        speaker.close()


def test_tokens_of_five_products_pass_with_the_entries_of_the_documentation(lab: Lab, tmp_path: Path) -> None:
    idp = Idp()
    (tmp_path / "keys.json").write_text(json.dumps(idp.jwks()))
    tokens, entries = {}, ""
    for product, (claims, text) in examples(int(time.time())).items():
        tokens[product] = idp.compact(b'{"alg":"RS256","kid":"rsa"}', json.dumps(claims).encode())
        entries += f"    - id: {product}\n      keys: {{file: keys.json}}\n{indent(text, '      ')}\n"
    with running(tmp_path, lab, policy=f"version: 1\nidentity:\n  tokens:\n{entries}") as gateway:
        found = {}
        for product, token in tokens.items():
            assert say(gateway, f"token-{product}", token) == (200, ""), product
            event = end_of(gateway, f"token-{product}")
            found[product] = (event.tenant, event.principal)
    assert found == {
        "okta": ("default", "okta|00u1AbC"),
        "entra": ("default", "entra|00000000-0000-0000-66f3-3332eca7ea81"),
        "auth0": ("default", "ada@example.com"),
        "keycloak": ("default", "ada"),
        "kubernetes": ("agents", "kubernetes|system:serviceaccount:agents:crawler"),
    }


def test_observe_records_what_a_bad_token_would_have_met_and_takes_it_out_all_the_same(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    text = policy(site).replace("version: 1", "version: 1\nmode: observe")
    with running(tmp_path, lab, policy=text) as gateway:
        assert say(gateway, "token-observed", site.idp.token(exp=1))[0] == 200
        event = end_of(gateway, "token-observed")
        assert event.principal == ""
        assert "identity.token_expired" in repr(event)
        (seen,) = [r for r in lab.requests if b'"token-observed"' in r.body]
        assert seen.header("x-sallyport-token") is None


_SDK = """
import json, sys, openai
client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0, default_headers={"X-Sallyport-Token": "Bearer " + sys.argv[2]})
try:
    answer = client.chat.completions.create(model=sys.argv[1], messages=[{"role": "user", "content": "hello"}])
    print(json.dumps({"text": answer.choices[0].message.content}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "code": getattr(error, "code", None)}))
"""


def test_openai_s_own_client_brings_a_token_in_a_default_header(site: Site, lab: Lab, tmp_path: Path) -> None:
    with running(tmp_path, lab, policy=policy(site)) as gateway:

        def run(model: str, token: str) -> dict[str, str]:
            done = subprocess.run(
                [sys.executable, "-c", _SDK, model, token],
                capture_output=True, text=True, env=environment(gateway), timeout=60, check=True,
            )  # fmt: skip
            return dict(json.loads(done.stdout.splitlines()[-1]))

        assert "text" in run("token-sdk", site.idp.token())
        refused = run("token-sdk-late", site.idp.token(exp=1))
        assert refused == {"error": "PermissionDeniedError", "code": "identity.token_expired"}
        assert OPENAI in [r.host for r in lab.requests if b'"token-sdk"' in r.body]
