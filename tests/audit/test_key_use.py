"""What every credential was used for, from the events of both databases; and the index that answers it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, text

from audit.samples import event
from sallyport.audit.events import Event, EventKind
from sallyport.audit.keys import key_use_query
from sallyport.audit.store import Store
from sallyport.exchange import Usage

AT = datetime(2026, 5, 1, tzinfo=UTC)
ONE, TWO = "key_" + "1" * 24, "key_" + "2" * 24


def ended(kind: EventKind, exchange: str, minutes: int, **more: object) -> Event:
    facts: dict[str, object] = {
        "credential": ONE, "principal": "ann", "tenant": "t", "host": "api.openai.com", "provider": "openai",
        "model": "gpt-a", **more,
    }  # fmt: skip
    return event(kind, exchange, at=AT + timedelta(minutes=minutes), **facts)  # type: ignore[arg-type]


def test_uses_are_folded_by_credential(url: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(url)
    used = Usage(input=100, output=20)
    store.write(
        [
            ended(EventKind.ADMITTED, "x1", 0, cost_micro_usd=999),
            ended(EventKind.COMPLETED, "x1", 1, usage=used, cost_micro_usd=5),
            ended(EventKind.BROKEN, "x2", 5, usage=used, model="gpt-b", principal="bob"),
            ended(EventKind.REFUSED, "x3", 3, host="eu.api.openai.com"),
            ended(EventKind.COMPLETED, "x4", 9, credential=TWO, tenant="u", provider="groq"),
            ended(EventKind.COMPLETED, "x5", 20, credential=""),
            event(EventKind.DIRECTORY_CHANGED, "", credential=TWO),
        ]
    )
    second, first = store.key_use()
    assert (first.fingerprint, second.fingerprint) == (ONE, TWO)
    assert (first.first_seen, first.last_seen) == (AT + timedelta(minutes=1), AT + timedelta(minutes=5))
    assert (first.calls, first.refusals) == (3, 1)
    assert (first.input_tokens, first.output_tokens, first.cost_micro_usd) == (200, 40, 5)
    assert first.principals == ("t/ann", "t/bob")
    assert first.models == ("gpt-a", "gpt-b")
    assert first.hosts == ("api.openai.com", "eu.api.openai.com")
    assert second.providers == ("groq",)
    assert [use.fingerprint for use in store.key_use("u")] == [TWO]


def test_the_index_answers_it_alone(url: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(url)
    store.write([ended(EventKind.COMPLETED, f"x{n}", n, credential=f"key_{n:024}") for n in range(200)])
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    asked = str(key_use_query().compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            plan = str(connection.execute(text("EXPLAIN QUERY PLAN " + asked)).all())
            assert "COVERING INDEX audit_key_use" in plan
        else:
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.execute(text(f"SET enable_{way} = off"))
            plan = str(connection.execute(text("EXPLAIN " + asked)).all())
            assert "Index Only Scan using audit_events_" in plan
            assert "credential_tenant_principal" in plan
            assert "Seq Scan" not in plan
    engine.dispose()
