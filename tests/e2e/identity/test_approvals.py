"""Approvals and broken glass through two gateways of one store, asked by the vendor's own client."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.counters import HEADER
from e2e.identity.commanding import WITHIN_S, pair, refusal, requests, said, sallyport, tool
from e2e.traffic import assert_clean, eventually, of_kind, recorded
from gateways import GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.decision import Need
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab
from sallyport.policy.approvals import Approvals
from sallyport.state.directory.approvals import approve, register
from sallyport.state.directory.store import DirectoryStore

POLICY = f"""
version: 1
identity: {{header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}}}
masking: {{unlisted: allow}}
approvals: {{approvers: [bob, carol, ada], break_glass_by: [bob]}}
access:
  rules:
    - id: big
      effect: approve
      resource: model
      models: ["apv-big*"]
      approval: {{who: Bob of the platform team, expires_s: 3600}}
      message: The large models are costly.
    - {{id: shell, effect: approve, resource: tool, tools: [shell], message: The tool shell is dangerous.}}
    - {{id: never, effect: forbid, models: ["apv-never*"], message: Not here.}}
    - {{id: freeze, effect: forbid, models: ["apv-freeze*"], break_glass: true, message: Frozen.}}
"""


@dataclass
class Place:
    """Two gateways and their store."""

    gateways: list[GatewayProcess]
    url: str

    @property
    def where(self) -> tuple[str, ...]:
        return ("--store", self.url, "--confdir", str(self.gateways[0].confdir))

    def asked(self, user: str, model: str, **more: object) -> str:
        """Have a call refused; return the id of its request once it is registered."""
        id = id_in(str(refusal(self.gateways[0], user, model, **more)))
        eventually(lambda: id in {r["id"] for r in self.requests()}, WITHIN_S, "the request is registered")
        return id

    def requests(self) -> list[dict]:
        return requests(self.url, self.gateways[0].confdir)

    def do(self, *words: str, by: str = "bob") -> str:
        return sallyport(*words, *self.where, by=by)

    def eventually_says(self, expected: str, user: str, model: str, **more: object) -> None:
        for gateway in self.gateways:
            eventually(
                lambda g=gateway: said(g, user, model, **more) == expected, WITHIN_S, expected or "it passes"
            )


def id_in(message: str) -> str:
    found = re.search(r"apr-[a-z2-9]{10}", message)
    assert found is not None, message
    return found[0]


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("approvals")
    url = f"sqlite:///{folder / 'shared.db'}"
    with pair(folder, lab, url, POLICY) as gateways:
        yield Place(gateways, url)


def test_the_first_call_is_refused_with_what_to_do_and_the_next_one_passes_everywhere(place: Place) -> None:
    error = refusal(place.gateways[0], "ann", "apv-big-one")
    id = id_in(str(error))
    assert error.code == "access.big"
    for part in (
        "costly",
        "apv-big-one",
        "Bob of the platform team",
        f"sallyport approvals approve {id} --reason",
    ):
        assert part in str(error)
    assert id_in(str(refusal(place.gateways[1], "ann", "apv-big-one"))) == id
    assert place.asked("ann", "apv-big-one") == id
    assert "approved until" in place.do("approvals", "approve", id, "--reason", "trial", "--for", "2h")
    place.eventually_says("", "ann", "apv-big-one")
    events = [e for e in recorded(place.url) if id in e.detail]
    assert [(e.kind, e.detail, e.principal) for e in events] == [
        (EventKind.APPROVAL_REQUESTED, f"requested:{id}", "ann"),
        (EventKind.APPROVAL_DECIDED, f"approved:{id}", "bob"),
    ]
    assert events[0].exchange == events[1].exchange != ""


def test_replay_of_an_approval_by_another_principal_or_for_another_resource(place: Place) -> None:
    id = place.asked("ann2", "apv-big-mine")
    place.do("approvals", "approve", id, "--reason", "r")
    place.eventually_says("", "ann2", "apv-big-mine")
    for user, model in (("eve", "apv-big-mine"), ("ann", "apv-big-mine"), ("ann2", "apv-big-other")):
        assert [said(gateway, user, model) for gateway in place.gateways] == ["access.big"] * 2


@pytest.mark.parametrize(
    "need",
    [
        Need("apr-tenant", "acme", "tim", "big", "model:apv-big-t"),
        Need("apr-rule", "default", "tim", "shell", "model:apv-big-t"),
        Need("apr-joined", "default", "timb", "ig", "model:apv-big-t"),
    ],
    ids=["tenant", "rule", "joined"],
)
def test_replay_of_an_approval_of_another_tenant_or_rule(place: Place, need: Need) -> None:
    grant(place, need, datetime.now(UTC) + timedelta(hours=1))
    marker = Need(f"{need.id}-marker", "default", f"marker-{need.id}", "big", "model:apv-big-t")
    grant(place, marker, datetime.now(UTC) + timedelta(hours=1))
    place.eventually_says("", marker.principal, "apv-big-t")  # so both gateways have read it
    assert [said(gateway, "tim", "apv-big-t") for gateway in place.gateways] == ["access.big"] * 2


def grant(place: Place, need: Need, until: datetime) -> None:
    """Approve through the functions that a console uses."""
    store = DirectoryStore.open(place.url, create=False)
    now = datetime.now(UTC)
    with store.change() as connection:
        register(connection, need, "", now)
        assert approve(connection, need.id, "bob", "r", now, until, Approvals()) is not None
    store.close()


def test_replay_of_an_approval_that_has_expired_opens_the_request_again(place: Place) -> None:
    id = place.asked("exp", "apv-big-exp")
    place.do("approvals", "approve", id, "--reason", "r", "--for", "3s")
    place.eventually_says("", "exp", "apv-big-exp")
    place.eventually_says("access.big", "exp", "apv-big-exp")

    def is_open() -> bool:
        said(place.gateways[0], "exp", "apv-big-exp")
        return next(r["state"] for r in place.requests() if r["id"] == id) == "open"

    eventually(is_open, 20, "the request is open again")


def test_replay_of_an_approval_that_was_revoked(place: Place) -> None:
    id = place.asked("rev", "apv-big-rev")
    place.do("approvals", "approve", id, "--reason", "r")
    place.eventually_says("", "rev", "apv-big-rev")
    place.do("approvals", "revoke", id, "--reason", "left")
    place.eventually_says("access.big", "rev", "apv-big-rev")
    assert '"state": "denied"' in place.do("approvals", "show", id, "--json")


def test_a_denied_request_does_not_serve(place: Place) -> None:
    id = place.asked("den", "apv-big-den")
    place.do("approvals", "deny", id, "--reason", "no")
    assert [said(gateway, "den", "apv-big-den") for gateway in place.gateways] == ["access.big"] * 2
    assert next(r for r in place.requests() if r["id"] == id)["state"] == "denied"


def test_a_request_id_that_somebody_copied_approves_only_its_own_principal(place: Place) -> None:
    victim, thief = place.asked("vic", "apv-big-id"), place.asked("thief", "apv-big-id")
    assert victim != thief
    place.do("approvals", "approve", victim, "--reason", "r")
    place.eventually_says("", "vic", "apv-big-id")
    assert said(place.gateways[0], "thief", "apv-big-id") == "access.big"


def test_a_request_id_that_was_guessed_is_none(place: Place) -> None:
    for guess in ("apr-aaaaaaaaaa", "apr-%", "' OR 1=1 --", ""):
        with pytest.raises(OperatorError):
            place.do("approvals", "approve", guess, "--reason", "r")


def test_approvers_are_named_and_approve_nothing_of_their_own(place: Place) -> None:
    id = place.asked("ada", "apv-big-own")
    for by in ("mallory", "ada"):
        with pytest.raises(OperatorError):
            place.do("approvals", "approve", id, "--reason", "r", by=by)
    assert said(place.gateways[0], "ada", "apv-big-own") == "access.big"


def test_an_approval_by_another_policy_than_the_gateways_does_not_count(place: Place, tmp_path: Path) -> None:
    lax = tmp_path / "lax.yaml"
    lax.write_text(POLICY.replace("[bob, carol, ada]", "[mallory]").replace("[bob]}", "[mallory]}"))
    id = place.asked("lax", "apv-big-lax")
    by_it = ("--reason", "r", "--policy", str(lax))
    assert "approved until" in place.do("approvals", "approve", id, *by_it, by="mallory")
    words = ("--principal", "lax", "--rule", "all", "--for", "1h")
    place.do("approvals", "break-glass", *words, *by_it, by="mallory")
    marker = place.asked("lax-marker", "apv-big-lax")
    place.do("approvals", "approve", marker, "--reason", "r")
    place.eventually_says("", "lax-marker", "apv-big-lax")  # so both gateways have read it
    assert [said(gateway, "lax", "apv-big-lax") for gateway in place.gateways] == ["access.big"] * 2
    place.do("approvals", "approve", id, "--reason", "r")
    place.eventually_says("", "lax", "apv-big-lax")


def test_a_tool_is_approved_for_itself(place: Place) -> None:
    assert said(place.gateways[0], "tol", "apv-small", **tool("search")) == ""
    id = place.asked("tol", "apv-small", **tool("shell"))
    assert next(r for r in place.requests() if r["id"] == id)["resource"] == "function:shell"
    place.do("approvals", "approve", id, "--reason", "r")
    place.eventually_says("", "tol", "apv-small", **tool("shell"))


def test_glass_that_is_broken_for_a_name_that_nobody_has_is_told(place: Place) -> None:
    """It serves the name as it is written: for `Gus` it would say that glass is broken, and gus were refused."""
    assert said(place.gateways[0], "Gus", "apv-freeze-a") == "access.freeze"
    eventually(lambda: any(e.principal == "gus" for e in recorded(place.url)), WITHIN_S, "the log has it")

    def broken(principal: str) -> str:
        words = ("--principal", principal, "--reason", "outage", "--rule", "all", "--for", "1h")
        return place.do("approvals", "break-glass", *words)

    assert "Never seen in the last 30 days" in (shown := broken("Gus"))
    assert "glass is broken until" in shown
    assert "Did you mean gus?" in shown
    assert "Never seen" in broken("somebody-else")
    assert "Never seen" not in broken("gus")
    place.eventually_says("", "gus", "apv-freeze-a")


def test_broken_glass_is_loud_and_sets_aside_only_what_may_be(place: Place) -> None:
    gateway = place.gateways[0]
    assert said(gateway, "gil", "apv-freeze-a") == "access.freeze"
    words = ("--principal", "gil", "--reason", "outage", "--for", "1h")
    for wrong in (("--rule", "never", *words), ("--rule", "nothing", *words)):
        with pytest.raises(OperatorError):
            place.do("approvals", "break-glass", *wrong)
    with pytest.raises(OperatorError):
        place.do("approvals", "break-glass", "--rule", "all", *words, by="carol")
    with pytest.raises(OperatorError):
        place.do("approvals", "break-glass", "--rule", "all", *words[:-1], "9h")
    taken = place.do("approvals", "break-glass", "--rule", "all", *words).partition(":")[0]
    place.eventually_says("", "gil", "apv-freeze-a")
    place.eventually_says("", "gil", "apv-big-a")
    assert said(gateway, "gil", "apv-never-a") == "access.never"
    assert said(gateway, "ann", "apv-freeze-a") == "access.freeze"

    def used() -> list[str]:
        events = of_kind(recorded(place.url), EventKind.BREAK_GLASS)
        assert [e.principal for e in events if e.detail == f"taken:{taken}"] == ["bob"]
        return [e.reason for e in events if e.detail == "used" and e.principal == "gil"]

    eventually(lambda: {"access.freeze", "access.big"} <= set(used()), WITHIN_S, "each use is an event")
    admitted = [e for e in recorded(place.url) if e.kind is EventKind.ADMITTED and e.principal == "gil"]
    reasons = {d.reason for e in admitted for d in e.decisions if d.stage == "access"}
    assert reasons == {"access.break_glass"}
    shown = place.do("approvals", "show", taken)
    assert "outage" in shown
    assert '"holds": true' in place.do("approvals", "show", taken, "--json")
    place.do("approvals", "revoke", taken, "--reason", "over")
    shown = place.do("approvals", "show", taken, "--json")
    assert '"reason": "outage / revoked by bob: over"' in shown
    assert '"holds": false, "revoked": true' in shown
    place.eventually_says("access.freeze", "gil", "apv-freeze-a")


def test_in_observe_nothing_is_refused_and_the_request_is_there_to_be_approved(
    lab: Lab, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'observed.db'}"
    with pair(tmp_path, lab, url, POLICY.replace("version: 1", "version: 1\nmode: observe")) as gateways:
        seen = Place(gateways, url)
        assert said(gateways[0], "obs", "apv-big-obs") == ""
        eventually(lambda: len(seen.requests()) == 1, WITHIN_S, "the request is registered")
        (event,) = of_kind(recorded(url), EventKind.APPROVAL_REQUESTED)
        assert event.detail.startswith("observed:apr-")


def test_nothing_that_was_said_is_in_any_file(place: Place) -> None:
    for gateway in place.gateways:
        assert_clean(gateway, "sk-test-EXAMPLE")
