"""`sallyport audit reveal`, `approve-reveal`, `reveals`, `search`: who sees kept content, and who has agreed."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from sallyport.audit.events import EventKind
from sallyport.audit.text import printable
from sallyport.cli.acts import PolicyOption, binding_policy
from sallyport.cli.contentopening import Content, opened_content
from sallyport.cli.operator import operator
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TokenOption, scope_of
from sallyport.errors import OperatorError
from sallyport.policy.content import Reveal
from sallyport.state.content.sealing import Damaged, Text, normalised, unseal
from sallyport.state.content.store import Asked, Sealed
from sallyport.state.content.subjects import Forgotten, UnknownKey

MAX_REASON_CHARS = 500
MAX_VALUE_CHARS = 4096

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the auditor who asks next year.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reveal(
    exchange: Annotated[
        str,
        typer.Argument(
            metavar="EXCHANGE", help="The exchange: an id as `audit list` prints it, or its beginning."
        ),
    ],
    reason: ReasonOption,
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show what was kept of an exchange. The look is recorded first; by policy somebody else must approve it."""
    _check_reason(reason)
    with opened_content(store, confdir) as content:
        parts = _parts(content, exchange)
        first = parts[0]
        scope_of(store, confdir, first.tenant, tenant_token)
        rules = binding_policy(policy, confdir).for_tenant(first.tenant).content.reveal
        texts = [(part, _texts(content, part)) for part in parts]
        asked = _granted(content, first, rules, reason)
        if asked is None:
            raise typer.Exit(1)
        content.tell(
            EventKind.CONTENT_REVEALED, f"shown:{asked.id}", tenant=first.tenant, exchange=first.exchange
        )
    if as_json:
        typer.echo(json.dumps([_plain(part, said) for part, said in texts]))
        return
    for part, said in texts:
        typer.echo(f"-- {part.part.value}, {part.form}, {part.kind}")
        for text in said:
            typer.echo(f"[{printable(text.surface)} {printable(text.at)}]")
            for line in text.text.split("\n"):
                typer.echo(printable(line))


def approve(
    id: Annotated[str, typer.Argument(metavar="ID", help="The request, as `audit reveal` printed it.")],
    reason: ReasonOption,
    policy: PolicyOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Let somebody else see an exchange, for the time that the policy gives. Recorded."""
    _check_reason(reason)
    with opened_content(store, confdir) as content:
        asked = next(iter(content.store.asked(id=id)), None)
        if asked is None:
            raise OperatorError("ID", "there is no such request", "List them: sallyport audit reveals")
        parts = _parts(content, asked.exchange)
        rules = binding_policy(policy, confdir).for_tenant(parts[0].tenant).content.reveal
        by = operator()
        if by.lower() == asked.asked_by.lower():
            raise OperatorError("ID", "it is your own request", "Have somebody else approve it")
        if rules.approvers and by.lower() not in {name.lower() for name in rules.approvers}:
            what = "content.reveal.approvers does not name your account"
            raise OperatorError("ID", what, "Have one of those it names approve")
        content.tell(
            EventKind.CONTENT_REVEALED, f"approved:{id}", tenant=parts[0].tenant, exchange=asked.exchange
        )
        until_us = _now_us() + rules.within_s * 1_000_000
        content.store.approve(id, by, reason, until_us)
    typer.echo(f"approved until {_moment(until_us)}; {printable(asked.asked_by)} can look now")


def list_asked(
    as_json: JsonOption = False,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List who asked to see what, why, and who has approved."""
    with opened_content(store, confdir) as content:
        tenant = scope_of(store, confdir, None, tenant_token)
        found = [each for each in content.store.asked() if tenant in (None, _tenant_of(content, each))]
    for each in found:
        members = {
            "id": each.id,
            "exchange": each.exchange,
            "asked_by": each.asked_by,
            "reason": each.reason,
            "asked_at": _moment(each.asked_us),
            "approved_by": each.approved_by,
            "approved_reason": each.approved_reason,
            "until": None if each.until_us is None else _moment(each.until_us),
        }
        if as_json:
            typer.echo(json.dumps(members))
        else:
            state = f"approved by {each.approved_by} until {members['until']}" if each.approved_by else "-"
            line = (
                f"{each.id}  {each.exchange}  {each.asked_by}  {members['asked_at']}  {state}  {each.reason}"
            )
            typer.echo(printable(line))
    if not found and not as_json:
        typer.echo("Nobody has asked.")


def search(
    value_from_stdin: Annotated[
        bool,
        typer.Option(
            "--value-from-stdin", help="Read the value from standard input: command lines are seen by all."
        ),
    ],
    tenant: Annotated[str | None, typer.Option(help="Only content of this tenant.")] = None,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Find the exchanges in whose kept content a value was found: an address, a card. Nothing is opened. Recorded."""
    if not value_from_stdin:
        raise OperatorError("--value-from-stdin", "a value comes from there only", "Add the option")
    value = normalised(sys.stdin.read(MAX_VALUE_CHARS + 1))
    if not value or len(value) > MAX_VALUE_CHARS:
        raise OperatorError("standard input", "it holds no value, or a very long one", "Give one value")
    with opened_content(store, confdir) as content:
        tenant = scope_of(store, confdir, tenant, tenant_token)
        found = content.store.having(key.token(value) for key in content.keys.each(tenant))
        content.tell(
            EventKind.CONTENT_REVEALED,
            f"searched.found_{len(found)}",
            reason="content.search",
            tenant=tenant or "",
        )
    for id in found:
        typer.echo(id)
    if not found:
        typer.echo("no exchange of which content is kept", err=True)
        raise typer.Exit(1)


def _granted(content: Content, part: Sealed, rules: Reveal, reason: str) -> Asked | None:
    """Return the request under which may be looked now; None where it waits for somebody else, which is told."""
    me, now_us = operator(), _now_us()
    own = [a for a in content.store.asked(exchange=part.exchange) if a.asked_by.lower() == me.lower()]
    if not rules.second_person:
        return _asked(content, part, me, reason, now_us)
    for asked in own:
        if asked.until_us is not None and now_us < asked.until_us:
            return asked
    waiting = next((asked for asked in own if asked.until_us is None), None)
    if waiting is None:
        waiting = _asked(content, part, me, reason, now_us)
        content.tell(
            EventKind.CONTENT_REVEALED, f"asked:{waiting.id}", tenant=part.tenant, exchange=part.exchange
        )
    typer.echo(
        f"{waiting.id}: somebody else has to approve: sallyport audit approve-reveal {waiting.id}", err=True
    )
    return None


def _asked(content: Content, part: Sealed, me: str, reason: str, now_us: int) -> Asked:
    """Note who wants to see what, and why. The id is a digest of it: the event that names it vouches for the reason."""
    said = json.dumps([part.exchange, me, reason, now_us])
    asked = Asked("rv" + hashlib.sha256(said.encode()).hexdigest()[:24], part.exchange, me, reason, now_us)
    content.store.ask(asked)
    return asked


def _parts(content: Content, prefix: str) -> tuple[Sealed, ...]:
    found = content.store.begins(prefix.strip())
    if not found and (exchange := content.exchange_of(prefix)):
        found = content.store.begins(exchange)
    if len(found) != 1:
        what = "more than one exchange begins with it" if found else "nothing is kept of such an exchange"
        raise OperatorError("EXCHANGE", what, "Find ids with: sallyport audit list")
    return content.store.find(found[0])


def _texts(content: Content, part: Sealed) -> tuple[Text, ...]:
    try:
        key = content.keys.open(part.key)
        if key.tenant != part.tenant:  # by which it was said who may look
            raise Damaged
        return unseal(part.sealed, key, part.exchange, part.part)
    except Forgotten:
        raise OperatorError(
            "EXCHANGE", "whose it was, was forgotten: it is gone", "Nothing can be done"
        ) from None
    except UnknownKey:
        what = f"its key is not in {content.keys.name}"
        raise OperatorError("EXCHANGE", what, "Give the keys of the gateway that kept it") from None
    except Damaged:
        raise OperatorError(
            "EXCHANGE", "it was changed in the store", "Restore the store from a backup"
        ) from None


def _tenant_of(content: Content, asked: Asked) -> str:
    """Return whose content was asked for, "" where it is gone."""
    return next((part.tenant for part in content.store.find(asked.exchange)), "")


def _plain(part: Sealed, texts: tuple[Text, ...]) -> dict[str, object]:
    return {
        "exchange": part.exchange,
        "part": part.part.value,
        "form": part.form,
        "class": part.kind,
        "kept_at": _moment(part.at_us),
        "until": _moment(part.until_us),
        "texts": [{"at": t.at, "surface": t.surface, "text": t.text} for t in texts],
    }


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise OperatorError(
            "--reason", "it is empty, too long or not plain text", "Write one line for the auditor"
        )


def _now_us() -> int:
    return time.time_ns() // 1000


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


COMMANDS: dict[str, Callable[..., None]] = {
    "reveal": reveal,
    "approve-reveal": approve,
    "reveals": list_asked,
    "search": search,
}
