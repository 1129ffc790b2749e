"""The files of rules/providers: what one may say about a provider, checked before it is believed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sallyport.exchange import Operation
from sallyport.policy.load import validate
from sallyport.policy.problems import PolicyError, Problem, Wrong, choices, nearest
from sallyport.policy.restrictions import RestrictionEntry, RestrictionFile
from sallyport.policy.source import Plain, Source, parse_source, read_content
from sallyport.policy.targets import QUERY_SHAPES, Template, read_parameters
from sallyport.policy.vocabulary import Header, HostPattern, Id, Name, Region, Section

DIALECTS: Mapping[str, Operation | None] = {
    "openai_chat": Operation.CHAT,
    "openai_responses": Operation.CHAT,
    "openai_completions": Operation.COMPLETION,
    "openai_embeddings": Operation.EMBEDDING,
    "anthropic_messages": Operation.CHAT,
    "gemini_generate": Operation.CHAT,
    "bedrock_converse": Operation.CHAT,
    "bedrock_invoke": Operation.CHAT,
    "cohere_v2": Operation.CHAT,
    "ollama_chat": Operation.CHAT,
    "openai_realtime": Operation.CHAT,
    "openai_responses_socket": Operation.CHAT,
    "openai_form": Operation.FILE,
    "openai_other": Operation.FILE,
    "anthropic_form": Operation.FILE,
    "anthropic_other": Operation.BATCH,
    "gemini_batch": Operation.BATCH,
    "opaque": None,
}
"""Dialects an endpoint may name, and the operation it has if the file does not say."""

SOCKET_DIALECTS = ("openai_realtime", "openai_responses_socket")
"""Dialects of messages over a WebSocket."""

WEBSOCKET = "WS"
"""Stands for a method in the key of an endpoint that upgrades a GET to a WebSocket (RFC 6455)."""

QueryParameter = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z$][A-Za-z0-9_.$-]*$")]
QueryValues = tuple[Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9._-]+$")], ...]
Query = Mapping[QueryParameter, str | QueryValues]


@dataclass(frozen=True, slots=True)
class EndpointEntry:
    """One endpoint as written. query: parameters it admits and the shape of their values."""

    method: str
    path: str
    dialect: str
    operation: Operation
    stream: bool | None
    query: Mapping[str, str | tuple[str, ...]]

    def read_query(self, parameters: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
        """Return the parameters of a call, None if this endpoint does not admit them."""
        return read_parameters(parameters, self.query)


class EndpointDetail(Section):
    """An endpoint that needs more than the name of its dialect."""

    dialect: str = Field(description="Name of the dialect that reads it.")
    operation: Operation | None = Field(
        default=None, description="What it does; null: what its dialect usually does."
    )
    stream: bool | None = Field(
        default=None, description="Whether it answers with a stream; null: the body says."
    )
    query: Query = Field(
        default_factory=dict, description="Query parameters it admits beside the provider's."
    )


class CredentialEntry(Section):
    """Where keys travel."""

    headers: tuple[Header, ...] = Field(
        default=("authorization",), description="Headers that hold a credential."
    )
    query: tuple[QueryParameter, ...] = Field(default=(), description="Query parameters that hold one.")
    schemes: tuple[Literal["bearer", "key", "sigv4", "cookie"], ...] = Field(
        default=("bearer",),
        description="How it is used; sigv4 signs the body, so that a change needs a new signature.",
    )
    signing_service: Id | None = Field(
        default=None, description="Service in the scope of its signatures, where it takes sigv4: `bedrock`."
    )


class Examples(Section):
    """The file's own tests: calls as METHOD URL, for match also the dialect and operation expected."""

    match: tuple[Name, ...] = Field(default=(), description="Calls that match an endpoint.")
    passes: tuple[Name, ...] = Field(default=(), alias="pass", description="Calls that match none.")


class ProviderEntry(Section):
    """One provider."""

    name: Id = Field(description="Stable name, `request.provider` in conditions.")
    title: Name = Field(description="Name as people say it.")
    kind: Literal["api", "web", "assistant"] = Field(default="api", description="What it is to its users.")
    sources: tuple[Name, ...] = Field(
        default=(), description="Where the facts come from, with the date read."
    )
    hosts: tuple[HostPattern, ...] = Field(
        min_length=1, description="Its hosts; whole names, `*.` or `{region}` holes."
    )
    sign_in: tuple[HostPattern, ...] = Field(
        default=(), description="Hosts that only sign people in; tunnelled."
    )
    credentials: CredentialEntry = Field(
        default_factory=lambda: CredentialEntry(), description="Where keys travel."
    )
    regions: Mapping[HostPattern, Region] = Field(
        default_factory=dict,
        description="Where a host processes, by host or pattern; hosts with a {region} or {location} hole say it "
        "themselves, and so does the {location} of a path.",
    )
    region_in_model: bool = Field(
        default=False,
        description="A model's name may send the call elsewhere than its host: inference profiles of Bedrock.",
    )
    usage_if_asked: bool = Field(
        default=False, description="Streams report usage only where stream_options.include_usage asks for it."
    )
    flat_errors: bool = Field(
        default=False,
        description="Its OpenAI-style errors stand at the top of the body, without an `error` around them.",
    )
    query: Query = Field(default_factory=dict, description="Query parameters every endpoint admits.")
    endpoints: Mapping[Name, EndpointDetail] = Field(
        default_factory=dict, description="`METHOD /path`: dialect, or `{dialect: ..., operation: ...}`."
    )
    examples: Examples = Field(default_factory=lambda: Examples(), description="The file's own tests.")

    @model_validator(mode="after")
    def _endpoints_make_sense(self) -> Self:
        _ = self.parsed_endpoints
        return self

    @property
    def parsed_endpoints(self) -> tuple[EndpointEntry, ...]:
        """Return the endpoints, most literal first."""
        parsed = [self._endpoint(key, value) for key, value in self.endpoints.items()]
        return tuple(sorted(parsed, key=lambda e: e.path.count("{")))

    @property
    def voice(self) -> str:
        """Return the dialect of its first endpoint that has one: what its SDK reads errors in. "opaque" for none."""
        return next((e.dialect for e in self.endpoints.values() if e.dialect != "opaque"), "opaque")

    def _endpoint(self, key: str, detail: EndpointDetail) -> EndpointEntry:
        at = ("endpoints", key)
        method, _, path = key.partition(" ")
        if method not in ("GET", "POST", "DELETE", WEBSOCKET):
            what = "an endpoint is `GET /path`, `POST /path`, `DELETE /path`, or `WS /path` for a WebSocket"
            raise Wrong(what, "Begin the key with the method", at)
        if (detail.dialect in SOCKET_DIALECTS) is not (method == WEBSOCKET):
            raise Wrong(
                f"{detail.dialect} does not travel that way",
                f"A WebSocket endpoint, and no other, has one of {choices(SOCKET_DIALECTS)}",
                at,
            )
        try:
            Template(path)
        except ValueError as error:
            raise Wrong(str(error), "Write the path as the provider documents it", at) from None
        if detail.dialect not in DIALECTS:
            near = nearest(detail.dialect, DIALECTS)
            todo = f"Did you mean `{near}`?" if near else f"Use {choices(DIALECTS)}"
            raise Wrong("there is no such dialect", todo, at)
        operation = detail.operation or DIALECTS[detail.dialect]
        if operation is None:
            raise Wrong("an opaque endpoint must say its operation", "Add `operation: list_models`", at)
        query = {**self.query, **detail.query}
        for name, shape in query.items():
            if isinstance(shape, str) and shape not in QUERY_SHAPES:
                todo = f"Use {choices(QUERY_SHAPES)}, or a list of values"
                raise Wrong(f"parameter {name} has an unknown shape", todo, at)
        return EndpointEntry(method, path, detail.dialect, operation, detail.stream, query)


class ProviderFile(Section):
    """Several small providers in one file."""

    providers: tuple[ProviderEntry, ...] = Field(description="The providers.")


class EchFile(Section):
    """Public names behind which an encrypted client hello hides the true one."""

    sources: tuple[Name, ...] = Field(default=(), description="Where the facts come from.")
    public_names: tuple[HostPattern, ...] = Field(description="Hosts that are never tunnelled.")


@dataclass(frozen=True, slots=True)
class Known:
    """All that the files of rules/providers say."""

    providers: tuple[ProviderEntry, ...]
    ech_names: tuple[str, ...]
    restrictions: tuple[RestrictionEntry, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """What one file says. where: the place of its name, for messages."""

    where: str
    providers: tuple[ProviderEntry, ...] = ()
    ech_names: tuple[str, ...] = ()
    restrictions: tuple[RestrictionEntry, ...] = ()


def read_providers(folders: Iterable[Path]) -> Known:
    """Read the provider files (*.yaml) of folders, with the ECH names and tenant restrictions beside them.

    Raises PolicyError with the problems of all files, a name used twice included.
    """
    entries: list[ProviderEntry] = []
    ech_names: list[str] = []
    restrictions: list[RestrictionEntry] = []
    problems: list[Problem] = []
    for path in (p for folder in folders for p in sorted(folder.glob("*.yaml"))):
        try:
            file = _parsed(path.name, read_content(path, f"providers/{path.name}"))
        except PolicyError as error:
            problems.extend(error.problems)
            continue
        ech_names.extend(file.ech_names)
        restrictions.extend(file.restrictions)
        known = {e.name for e in entries}
        for entry in file.providers:
            if entry.name in known:
                todo = "Give each provider its own name."
                problems.append(Problem(file.where, "name", f"{entry.name} is used twice", todo))
        entries.extend(file.providers)
    if not entries and not problems:
        problems.append(
            Problem("providers", "", "there is no provider file", "Reinstall, or check the folder.")
        )
    if problems:
        raise PolicyError(problems)
    return Known(tuple(entries), tuple(ech_names), tuple(restrictions))


@lru_cache(maxsize=256)
def _parsed(name: str, content: bytes) -> _File:
    """Return what a file says, which is read more than once in a start and in every reload. Raises PolicyError."""
    source = parse_source(content, f"providers/{name}")
    where = source.where(("name",))
    if name == "_ech.yaml":
        return _File(where, ech_names=validate(EchFile, source).public_names)
    if name == "_restrictions.yaml":
        return _File(where, restrictions=validate(RestrictionFile, source).restrictions)
    return _File(where, _entries(source))


def _entries(source: Source) -> tuple[ProviderEntry, ...]:
    several = isinstance(source.data, dict) and "providers" in source.data
    written = source.data["providers"] if several and isinstance(source.data, dict) else [source.data]
    for provider in written if isinstance(written, list) else ():
        _spell_out_endpoints(provider)
    return validate(ProviderFile, source).providers if several else (validate(ProviderEntry, source),)


def _spell_out_endpoints(provider: Plain) -> None:
    """Turn `POST /path: dialect` into `POST /path: {dialect: dialect}`."""
    endpoints = provider.get("endpoints") if isinstance(provider, dict) else None
    if isinstance(endpoints, dict):
        endpoints.update({k: {"dialect": v} for k, v in endpoints.items() if isinstance(v, str)})
