"""What conditions are asked about: a complete, documented input. Each value is worked out when it is read."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sallyport.decision import Finding
from sallyport.exchange import FALLBACK_MODEL, Circumstances, Exchange, Principal, Scalar, ToolKind

_MAX_INT = 2**63 - 1

INPUTS: Mapping[str, tuple[str, str]] = {
    "principal.id": ("string", 'who speaks, as the identity stage found it; "" where it found nobody'),
    "principal.tenant": ("string", 'the tenant of the principal, "" where there is none'),
    "principal.roles": ("list<string>", "the roles of the principal"),
    "principal.source": (
        "string",
        "the strongest proof: `certificate`, `token`, `proxy`, `header`, `gateway_key`, `key`, `tunnel`, `network`, "
        "or `anonymous`, `none`; all of them: `principal.attributes['sources']`",
    ),
    "principal.confidence": (
        "double",
        "1 (`certificate`), 0.95 (`token`), 0.9 (`proxy`, `header`), 0.8 (`gateway_key`, `key`), 0.6 (`tunnel`), "
        "0.4 (`network`), 0 (nobody named it)",
    ),
    "principal.attributes": (
        "map<string,string>",
        "further facts; test `'team' in principal.attributes` before reading one",
    ),
    "request.provider": ("string", "name of the provider in the catalogue, for example `openai`"),
    "request.host": ("string", "host the client called, lower case"),
    "request.dialect": ("string", "wire format, for example `anthropic_messages`"),
    "request.operation": ("string", "`chat`, `completion`, `embedding`, `count_tokens`, ..."),
    "request.model": (
        "string",
        'model as the client named it, "" where the call names none. Others may answer: ask `request.models`',
    ),
    "request.models": (
        "list<string>",
        "every model that may answer, lower case: the one that is named first, then those that stand in for it "
        "(`fallbacks`, `models`) or that a tool asks; `['']` where the call names none",
    ),
    "request.tools": ("list<string>", "names of the tools the request declares"),
    "request.functions": ("list<string>", "names of the tools it declares that the client runs itself"),
    "request.hosted_tools": (
        "list<string>",
        "types of the tools the provider runs, for example `web_search`",
    ),
    "request.mcp_servers": (
        "list<string>",
        "hosts of the MCP servers the provider shall call, or names of its connectors; `(unknown)` where none is told",
    ),
    "request.parameters": (
        "map<string,dyn>",
        "settings under normal names (`temperature`, `store`, `n`, ...); test `'store' in request.parameters` first",
    ),
    "request.stream": ("bool", "whether a streamed answer is asked for"),
    "request.max_output_tokens": ("int", "limit the client set, -1 where it set none"),
    "request.input_chars": ("int", "code points of all texts of the request together"),
    "request.attachments": ("list<string>", "media types of images, sounds and files, lower case"),
    "request.attachment_bytes": ("int", "decoded bytes of inline attachments together"),
    "request.continued": ("bool", "whether it continues a response kept at the provider, unseen here"),
    "request.region": ("string", 'region that host, path and model tell, "" where they do not'),
    "request.endpoint": ("string", "method and path of the catalogue, for example `POST /v1/responses`"),
    "request.purpose": ("string", 'tag the caller gave for its purpose, "" where none. In access rules only'),
    "request.consents": ("list<string>", "consent tags the caller gave. In access rules only"),
    "data.classes": (
        "list<string>",
        "classes of data found, as `access.data_classes` has them. In access rules only",
    ),
    "client.address": ("string", "address of the client's end of the connection"),
    "client.mode": (
        "string",
        "how the connection came: `explicit`, `transparent`, `reverse`, `tun` or `wireguard`",
    ),
    "client.networks": ("list<string>", "names of `access.networks` it comes from. In access rules only"),
    "findings": (
        "list<map<string,dyn>>",
        "what detection found; each has `rule`, `kind`, `entity`, `severity`, `score`, `surface`",
    ),
    "behaviour.score": (
        "double",
        "how unusual the principal is now, 0 to 1; 0 while too little is known. In access rules and limits only",
    ),
    "behaviour.reasons": (
        "list<string>",
        "what is unusual: `spend`, `tokens`, `requests`, `refusals`, `new_models`, `new_hosts`, `off_hours`",
    ),
    "gateway.in_flight": (
        "int",
        "exchanges under way in this gateway, this one included. In access rules and limits only",
    ),
    "time.hour": ("int", "hour the request arrived, 0 to 23, UTC"),
    "time.weekday": ("int", "day of the week it arrived, 1 is Monday, 7 is Sunday, UTC"),
    "time.date": ("string", "day it arrived, `2026-11-30`, UTC"),
    "time.received_at": ("timestamp", "the moment it arrived; `getHours('Europe/Berlin')` and the like work"),
}
"""Every name a condition may use: CEL type and meaning. All are always present."""

FINDING_FIELDS = ("rule", "kind", "entity", "severity", "score", "surface")


@dataclass(frozen=True, slots=True)
class ConditionInput:
    """What conditions are asked about: exactly the names of INPUTS."""

    values: Mapping[str, object]

    def __post_init__(self) -> None:
        if type(self.values) is not Values and self.values.keys() != INPUTS.keys():
            odd = sorted(self.values.keys() ^ INPUTS.keys())
            raise ValueError(f"a condition input needs exactly the documented names; differs in {odd}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the access section alone knows of an exchange: tags of the caller, networks, classes of data."""

    purpose: str = ""
    consents: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()


NO_FACTS = Facts()
_NOTHING_KNOWN = Circumstances()
_NOBODY = Principal(id="", tenant="", source="none")


class Values(Mapping[str, object]):
    """The value of every name of INPUTS for one exchange; what nobody reads is never worked out."""

    __slots__ = ("_known", "circumstances", "exchange", "facts", "findings", "who")

    def __init__(
        self, exchange: Exchange, findings: Sequence[Finding], circumstances: Circumstances, facts: Facts
    ) -> None:
        self.exchange = exchange
        self.findings = findings
        self.circumstances = circumstances
        self.facts = facts
        self.who: Principal = exchange.principal or _NOBODY
        self._known: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        known = self._known
        if name not in known:
            known[name] = _READERS[name](self)
        return known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(INPUTS)

    def __len__(self) -> int:
        return len(INPUTS)


def condition_input(
    exchange: Exchange,
    findings: Sequence[Finding] = (),
    circumstances: Circumstances = _NOTHING_KNOWN,
    facts: Facts = NO_FACTS,
) -> ConditionInput:
    """Describe an exchange to conditions. findings: empty where the caller asks before detection ran.

    The time is the moment the request arrived, so that the same exchange gets the same answer again.
    """
    return ConditionInput(Values(exchange, findings, circumstances, facts))


def _arrived(of: Values) -> datetime:
    return of.exchange.received_at.astimezone(UTC)


def _limit(of: Values) -> int:
    limit = of.exchange.request.max_output_tokens
    return -1 if limit is None else max(-_MAX_INT, min(limit, _MAX_INT))


def tools_of(exchange: Exchange, kind: ToolKind) -> list[str]:
    """Return what rules call the declared tools of a kind: MCP servers go by their host or connector."""
    found = (tool for tool in exchange.request.declared if tool.kind is kind)
    if kind is ToolKind.MCP:
        return [tool.server or UNKNOWN_SERVER for tool in found]
    return [tool.name for tool in found]


def models_of(exchange: Exchange) -> tuple[str, ...]:
    """Return every model that may answer: the one that is named, and those that may stand in for it."""
    request = exchange.request
    others = [str(p.value) for p in request.parameters if p.name == FALLBACK_MODEL]
    return (request.model, *others) if request.model else tuple(others)


UNKNOWN_SERVER = "(unknown)"
"""What stands for an MCP server whose address nobody could read."""


def _tools(kind: ToolKind) -> Callable[[Values], list[str]]:
    return lambda of: [_plain(name) for name in tools_of(of.exchange, kind)]


def _models(of: Values) -> list[str]:
    """Return the models as lists compare them. Never empty: `all` holds of an empty list, whatever it asks."""
    named = dict.fromkeys(_plain(model.strip().casefold()) for model in models_of(of.exchange))
    return list(named) or [""]


def _parameters(of: Values) -> dict[str, Scalar]:
    """Return the settings by name; of one that is given twice the larger, a number before all else."""
    found: dict[str, Scalar] = {}
    for parameter in of.exchange.request.parameters:
        value = _cel_scalar(parameter.value)
        old = found.get(parameter.name)
        if old is None or _weight(value) > _weight(old):
            found[parameter.name] = value
    return found


def _weight(value: Scalar) -> tuple[int, float, str]:
    if isinstance(value, str):
        return (0, 0.0, value)
    return (1 if isinstance(value, bool) else 2, float(value), "")


def _cel_scalar(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return _plain(value)
    if type(value) is int:
        return max(-_MAX_INT, min(value, _MAX_INT))
    return value


def _findings(of: Values) -> list[dict[str, object]]:
    surfaces = {s.at: s.surface.value for s in of.exchange.request.segments}
    return [
        {
            "rule": f.rule,
            "kind": f.kind.value,
            "entity": f.entity,
            "severity": f.severity.value,
            "score": float(f.score),
            "surface": surfaces.get(f.at, ""),
        }
        for f in of.findings
    ]


_READERS: Mapping[str, Callable[[Values], object]] = {
    "principal.id": lambda of: _plain(of.who.id),
    "principal.tenant": lambda of: _plain(of.who.tenant),
    "principal.roles": lambda of: [_plain(r) for r in of.who.roles],
    "principal.source": lambda of: _plain(of.who.source),
    "principal.confidence": lambda of: float(of.who.confidence),
    "principal.attributes": lambda of: {_plain(k): _plain(v) for k, v in of.who.attributes},
    "request.provider": lambda of: _plain(of.exchange.request.provider),
    "request.host": lambda of: _plain(of.exchange.host),
    "request.dialect": lambda of: _plain(of.exchange.request.dialect),
    "request.operation": lambda of: of.exchange.request.operation.value,
    "request.model": lambda of: _plain(of.exchange.request.model or ""),
    "request.models": _models,
    "request.tools": lambda of: [_plain(t) for t in of.exchange.request.tools],
    "request.functions": _tools(ToolKind.FUNCTION),
    "request.hosted_tools": _tools(ToolKind.HOSTED),
    "request.mcp_servers": _tools(ToolKind.MCP),
    "request.parameters": _parameters,
    "request.stream": lambda of: of.exchange.request.stream,
    "request.max_output_tokens": _limit,
    "request.input_chars": lambda of: sum(len(s.text) for s in of.exchange.request.segments),
    "request.attachments": lambda of: [_plain(a.media_type.lower()) for a in of.exchange.request.attachments],
    "request.attachment_bytes": lambda of: min(
        sum(a.size or 0 for a in of.exchange.request.attachments), _MAX_INT
    ),
    "request.continued": lambda of: of.exchange.request.previous is not None,
    "request.region": lambda of: of.exchange.request.region,
    "request.endpoint": lambda of: of.exchange.request.endpoint,
    "request.purpose": lambda of: of.facts.purpose,
    "request.consents": lambda of: list(of.facts.consents),
    "data.classes": lambda of: list(of.facts.data_classes),
    "client.address": lambda of: _plain(of.exchange.client.address),
    "client.mode": lambda of: _plain(of.exchange.client.mode),
    "client.networks": lambda of: list(of.facts.networks),
    "findings": _findings,
    "behaviour.score": lambda of: of.circumstances.behaviour_score,
    "behaviour.reasons": lambda of: list(of.circumstances.behaviour_reasons),
    "gateway.in_flight": lambda of: of.circumstances.in_flight,
    "time.hour": lambda of: _arrived(of).hour,
    "time.weekday": lambda of: _arrived(of).isoweekday(),
    "time.date": lambda of: _arrived(of).date().isoformat(),
    "time.received_at": _arrived,
}
if _READERS.keys() != INPUTS.keys():
    raise RuntimeError("a documented name without a reader, or a reader without its documentation")


def _plain(text: str) -> str:
    """Return text that UTF-8 can carry: a lone surrogate out of JSON becomes U+FFFD."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)
