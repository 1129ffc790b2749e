"""Every request to an AI host is counted in exactly one class, and the command says what was not read."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from audit.chains import checkpointed, verified
from audit.samples import event
from audit.test_migrations import back_to_version_5
from sallyport.audit.classes import NO_BODY, Coverage, media_name
from sallyport.audit.coverage import CoverageDimension, together
from sallyport.audit.events import Event, EventKind
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.cli.audit import app

HOSTS = ("api.openai.com", "api.anthropic.com")
CLASSES = st.sampled_from(Coverage)


def ended(number: int, coverage: Coverage | None, **facts: object) -> Event:
    kind = EventKind.REFUSED if coverage is Coverage.DENIED else EventKind.COMPLETED
    if coverage is Coverage.TUNNELLED:
        return event(EventKind.TUNNELLED, coverage=coverage, **facts)
    return event(kind, f"x{number}", coverage=coverage, **facts)


def run(store: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["coverage", *words, "--store", f"sqlite:///{store}"])


def written(folder: Path, events: list[Event]) -> Path:
    path = folder / "audit.db"
    store = Store.open(f"sqlite:///{path}")
    store.write(events)
    store.close()
    return path


def traffic() -> list[Event]:
    """Nine requests: five parsed, one each of the others."""
    plain: dict[str, object] = {
        "host": HOSTS[0],
        "endpoint": "/v1/chat/completions",
        "content_type": "application/json",
    }
    return [
        *(ended(n, Coverage.PARSED, **plain) for n in range(5)),
        ended(5, Coverage.PARSED_IN_PART, **plain, unread="attachment.image/png"),
        ended(6, Coverage.OPAQUE, host=HOSTS[1], endpoint="(unknown)", unread="endpoint.unknown_path"),
        ended(7, Coverage.TUNNELLED, host="auth.openai.com", unread="sign_in"),
        ended(8, Coverage.DENIED, **plain, reason="secrets.found"),
        event(EventKind.TUNNELLED, host="www.example.com"),
        event(EventKind.ADMITTED, "x9", host=HOSTS[0], coverage=Coverage.PARSED),
    ]


@settings(max_examples=30)
@given(st.lists(st.tuples(CLASSES | st.none(), st.sampled_from(HOSTS), st.integers(0, 3)), max_size=40))
def test_the_classes_sum_to_the_requests_however_they_are_broken_down(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Coverage | None, str, int]]
) -> None:
    day = datetime(2026, 5, 1, tzinfo=UTC)
    events = [
        ended(number, coverage, host=host, at=day + timedelta(days=days))
        for number, (coverage, host, days) in enumerate(drawn)
    ]
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('drawn') / 'audit.db'}")
    store.write(events)
    wanted = Counter(coverage for coverage, _, _ in drawn)
    for by in (
        [],
        [CoverageDimension.HOST],
        [CoverageDimension.DAY, CoverageDimension.HOST],
        list(CoverageDimension),
    ):
        whole = together(store.coverage(by))
        assert {each: count for each, count in whole.counts.items() if count} == {
            each: count for each, count in wanted.items() if each is not None
        }
        assert whole.unclassified == wanted[None]
        assert whole.total == len(drawn)
    told = Counter[Coverage]()
    for one in store.unparsed():
        told[one.coverage] += one.count
    assert told == +Counter({c: n for c, n in wanted.items() if c not in (None, Coverage.PARSED)})
    store.close()


def test_a_reader_of_one_tenant_sees_what_is_theirs(store: Store, url: str) -> None:
    store.write(
        [ended(1, Coverage.PARSED, tenant="a"), ended(2, Coverage.OPAQUE, tenant="b", unread="body.other")]
    )
    scoped = Store.open(url, create=False, tenant="a")
    assert together(scoped.coverage()).total == 1
    assert scoped.unparsed() == ()
    scoped.close()


def test_what_follows_an_admission_keeps_its_class_unless_it_was_refused_or_less_was_read() -> None:
    admitted = event(EventKind.ADMITTED, "x", coverage=Coverage.PARSED, content_type="application/json")
    assert admitted.followed_by(EventKind.COMPLETED).coverage is Coverage.PARSED
    assert admitted.followed_by(EventKind.COMPLETED).content_type == "application/json"
    assert admitted.followed_by(EventKind.REFUSED).coverage is Coverage.DENIED
    answered = admitted.followed_by(EventKind.COMPLETED, unread="answer.unread")
    assert (answered.coverage, answered.unread) == (Coverage.PARSED_IN_PART, "answer.unread")
    opaque = event(EventKind.ADMITTED, "y", coverage=Coverage.OPAQUE, unread="body.other")
    both = opaque.followed_by(EventKind.COMPLETED, unread="answer.unread")
    assert (both.coverage, both.unread) == (Coverage.OPAQUE, "body.other answer.unread")


@pytest.mark.parametrize(
    ("written_by_a_client", "told"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("IMAGE/PNG", "image/png"),
        ("image/4111111111111111", "image/other"),
        ("my secret note", "other"),
        ("", "other"),
        ("secret/plain", "other"),
        ("application/", "application/other"),
    ],
)
def test_a_content_type_is_told_by_known_names_alone(written_by_a_client: str, told: str) -> None:
    assert media_name(written_by_a_client) == told


def test_the_command_shows_shares_and_what_was_not_parsed(tmp_path: Path) -> None:
    shown = run(written(tmp_path, traffic()), "--by", "host", "--by", "content-type")
    assert shown.exit_code == 0, shown.output
    assert "9 requests: 1 denied, 8 left, of which 75.00 % were read, whole or in part." in shown.output
    for reason in ("attachment.image/png", "endpoint.unknown_path", "sign_in", "secrets.found"):
        assert reason in shown.output
    assert "www.example.com" not in shown.output


def test_as_json_it_is_one_object_with_every_class(tmp_path: Path) -> None:
    found = json.loads(run(written(tmp_path, traffic()), "--json", "--by", "endpoint").output)
    assert found["requests"] == 9
    assert [found[each] for each in Coverage] == [5, 1, 1, 1, 1]
    assert found["covered"] == 0.75
    assert sum(row["requests"] for row in found["shares"]) == 9
    assert {row["class"] for row in found["not_parsed"]} == set(Coverage) - {Coverage.PARSED}
    assert found["not_parsed"][-1]["class"] == "denied"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--fail-under", "0.75"), 0),
        (("--fail-under", "0.76"), 1),
        (("--fail-under", "0.62", "--strict"), 0),
        (("--fail-under", "0.63", "--strict"), 1),
        (("--fail-under", "0.1", "--since", "1s"), 1),
        (("--since", "1s"), 0),
        (("--fail-under", "1.5"), 2),
        (("--fail-under", "nan"), 2),
    ],
)
def test_a_share_below_the_wanted_one_fails(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    old = datetime.now(UTC) - timedelta(days=1)
    facts = [ended(n, c, at=old) for n, c in enumerate([*[Coverage.PARSED] * 5, *list(Coverage)[1:]])]
    assert run(written(tmp_path, facts), *words).exit_code == code


def test_names_of_clients_reach_no_terminal_raw(tmp_path: Path) -> None:
    hostile = ended(
        1, Coverage.OPAQUE, host="\x1b[31mred\u202e", endpoint="[red]x[/red]", unread="body.other"
    )
    shown = run(written(tmp_path, [hostile])).output
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown


def test_a_store_of_version_4_is_proved_as_before_and_classes_are_proved_from_now_on(
    store: Store, url: str, tmp_path: Path
) -> None:
    signer = Signer.of(tmp_path / "conf")
    store.write([ended(1, None), ended(2, None)])
    checkpointed(store, signer)
    store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        back_to_version_5(connection)
        for name in ("coverage", "content_type", "unread"):
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("UPDATE sallyport_schema SET version = 4 WHERE part = 'audit'"))
    now = Store.open(url)
    assert verified(now, signer).is_sound
    assert together(now.coverage()).unclassified == 2
    now.write([ended(3, Coverage.OPAQUE, content_type=NO_BODY)])
    checkpointed(now, signer)
    assert verified(now, signer).is_sound
    with engine.begin() as connection:
        connection.execute(text("UPDATE audit_events SET coverage = 'parsed' WHERE exchange = 'x3'"))
    assert [finding.event for finding in verified(now, signer).findings]
    now.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("coverage", "--since", "2999-01-01"), "--since: it lies in the future"),
        (("report", "--since", "2999-01-01"), "--since: it lies in the future"),
        (("report", "--tenant", "nosuch"), "no event of this tenant"),
    ],
)
def test_an_option_that_cannot_be_meant_is_told(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    Store.open(tmp_path / "audit.db").close()
    done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "audit.db")])
    assert told in str(done.exception)
