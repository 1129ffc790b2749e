"""`sallyport policy explain`: may somebody do something, and why; asked of the policy without any traffic."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from pydantic import ValidationError

from sallyport.cli.directory.opening import pairs
from sallyport.cli.explaining import Question, as_object, as_text, explained
from sallyport.cli.gatewaykey import key_of
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.rehearsing import make_rehearsal
from sallyport.data import policies_dir
from sallyport.decision import Action
from sallyport.errors import OperatorError
from sallyport.exchange import Operation, Scalar
from sallyport.metering.tokens import TokenCounter
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.load import PRESETS, load_policy
from sallyport.policy.problems import Wrong
from sallyport.policy.source import read_source
from sallyport.rehearsal.given import Given
from sallyport.rehearsal.places import Places
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore

_MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """The directory that is asked beside the policy. name: of its store, "" for none."""

    name: str = ""
    snapshot: Snapshot | None = None


def explain(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", readable=False, help="Policy file, or observe, balanced, strict."),
    ],
    principal: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who calls: an id, or a name such as email:ann@example.com."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Tenant of the principal.")] = None,
    role: Annotated[list[str] | None, typer.Option(metavar="ROLE", help="A role of it; repeatable.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An attribute of it; repeatable.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="What proved it: token, certificate, key, certificate+token, ..."
        ),
    ] = None,
    network: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address of the client.")] = None,
    key: Annotated[str | None, typer.Option(metavar="FINGERPRINT", help="Fingerprint of its key.")] = None,
    provider: Annotated[str, typer.Option(metavar="NAME", help="Provider of the catalogue.")] = "openai",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model as the client names it.")] = None,
    operation: Annotated[Operation | None, typer.Option(help="What is asked for. [default: chat]")] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="'METHOD /PATH'", help="Endpoint: 'POST /v1/responses'.")
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Host of the provider.")] = None,
    tool: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A function it declares.")] = None,
    hosted_tool: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="A hosted tool it declares.")
    ] = None,
    mcp: Annotated[list[str] | None, typer.Option(metavar="HOST", help="An MCP server it declares.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting: n=2, store=true; repeatable.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="A streamed answer is asked for.")] = False,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the user writes; never shown.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", readable=False, help="A whole JSON body; never shown.")
    ] = None,
    purpose: Annotated[str | None, typer.Option(metavar="TAG", help="Purpose it states.")] = None,
    consent: Annotated[list[str] | None, typer.Option(metavar="TAG", help="A consent it states.")] = None,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="Region it is processed in.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When: 2026-11-23T09:30. [default: now]")
    ] = None,
    zone: Annotated[str, typer.Option("--tz", metavar="ZONE", help="Time zone of --at.")] = "UTC",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say whether somebody may do something, and why. Nothing is sent, recorded or registered.

    The stages of the gateway decide over the facts given here, and over people, keys, approvals and kill switches
    of the store, if there is one; counters begin at zero. Exit code 0: allowed, as it is or changed; 1: refused;
    2: wrong use.
    """
    path = policies_dir() / f"{file}.yaml" if str(file) in PRESETS and not file.exists() else file
    written = read_source(path)
    policy = load_policy(path, source=written)
    said: dict[str, object] = {
        "principal": principal, "tenant": tenant, "roles": role, "attributes": pairs("--attribute", attribute),
        "source": source, "client": network, "key": key, "provider": provider, "model": model,
        "operation": operation, "endpoint": endpoint, "host": host, "tools": tool, "hosted_tools": hosted_tool,
        "mcp_servers": mcp, "parameters": _parameters(param), "stream": stream or None, "text": text,
        "body": _body(body), "purpose": purpose, "consents": consent, "region": region, "at": _moment(at, zone),
    }  # fmt: skip
    known = _known(store, confdir)
    tokens = TokenCounter()
    if policy.limits.rules and (text or body):
        tokens.load()
    # The folder nobody named is of the gateway that is asked about only where its store is, too.
    own = key_of(confdir or default_confdir()) if store is None or confdir is not None else None
    places = Places.read(path, policy, written)
    question = Question(policy, places, _given(said), known.name, known.snapshot, knows_ids=own is not None)
    try:
        found = asyncio.run(explained(make_rehearsal(tokens, own), question))
    except Wrong as wrong:
        raise _told(wrong) from None
    typer.echo(json.dumps(as_object(found)) if as_json else as_text(found))
    raise typer.Exit(1 if found.answered.verdict.action is Action.DENY else 0)


_OPTIONS = {
    "roles": "--role", "attributes": "--attribute", "client": "--network", "tools": "--tool",
    "hosted_tools": "--hosted-tool", "mcp_servers": "--mcp", "parameters": "--param", "consents": "--consent",
}  # fmt: skip


def _given(said: dict[str, object]) -> Given:
    """Return the facts of the options, with nothing where none was given. Raises OperatorError."""
    facts = {name: value for name, value in said.items() if value not in (None, [], {})}
    facts |= {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
    try:
        return Given.model_validate(facts)
    except ValidationError as error:
        detail = error.errors(include_input=False)[0]
        cause = detail.get("ctx", {}).get("error")
        where = (*detail["loc"], *(cause.at if isinstance(cause, Wrong) else ()))
        if isinstance(cause, Wrong):
            raise _told(Wrong(cause.what, cause.todo, where)) from None
        raise _told(Wrong("this cannot be used", "See: sallyport policy explain --help", where)) from None


def _told(wrong: Wrong) -> OperatorError:
    name = str(wrong.at[0]) if wrong.at else ""
    where = _OPTIONS.get(name) or (f"--{name.replace('_', '-')}" if name else "policy explain")
    return OperatorError(where, wrong.what, wrong.todo)


def _parameters(texts: list[str] | None) -> dict[str, Scalar]:
    return {name: _scalar(value) for name, value in pairs("--param", texts).items()}


def _scalar(text: str) -> Scalar:
    """Read a value as JSON would; anything else is a word."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


def _body(path: Path | None) -> dict[str, object] | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BODY_BYTES + 1)
        value = json.loads(content) if len(content) <= _MAX_BODY_BYTES else None
    except OSError as error:
        raise OperatorError(
            "--body", f"cannot be read ({error.strerror})", "Name a file that exists"
        ) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OperatorError("--body", "holds no JSON object", "Give a body as a client sends it, up to 8 MiB")
    return value


def _moment(text: str | None, zone: str) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OperatorError("--tz", "there is no such time zone", "Write it as Europe/Berlin") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError("--at", "this is no time", "Write it as 2026-11-23T09:30") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=clock)


def _known(store: str | None, confdir: Path | None) -> _Known:
    """Return the directory of the store; none where nobody names one and there is none. Raises OperatorError."""
    address = store_address(store, confdir)
    if store is None and confdir is None and not Path(address).exists():
        return _Known()
    opened = DirectoryStore.open(address, create=False)
    try:
        with opened.read() as connection:
            return _Known(opened.name, Snapshot.read(connection))
    finally:
        opened.close()
