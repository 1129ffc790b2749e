"""The cases of the matrix, made from the provider catalogue: whatever it lists is either run or listed with a reason.

A route is one method and path of one provider; a case is a route with a client, a way to travel and an outcome.
Run are: every outcome on the first route of every dialect of every provider over HTTP/1.1, and with the SDKs at home
there; every outcome over HTTP/2 on the catalogue's first route of every dialect; on the other routes, over HTTP/2
elsewhere and with SDKs away from home, masking, and on streams refusals before and in the middle.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from conformance.filed import Filed, filed
from sallyport.exchange import Operation
from sallyport.policy.catalogue import Catalogue, Endpoint, Provider, shipped_catalogue


class Outcome(StrEnum):
    """What is to happen to a case, in the order of the page's columns."""

    PASS = "pass"
    MASK = "mask"
    """A value is masked on the way out and restored on the way back."""
    REFUSE = "refuse"
    """The request holds what the policy refuses, and does not leave."""
    STOP = "stop"
    """The answer holds what the policy refuses: in a stream, after it has begun."""
    TRUNCATE = "truncate"
    """The answer holds what the policy ends it at, as if the provider had."""
    GARBLED = "garbled"
    """The answer cannot be read: in a stream, in the middle of it."""
    ERROR = "error"
    """The provider answers with an error of its own."""
    BROKEN = "broken"
    """The provider's connection breaks in the middle of its answer."""
    ABORT = "abort"
    """The client goes away before the answer is whole."""


class Form(StrEnum):
    """How an answer travels."""

    JSON = "json"
    SSE = "sse"
    NDJSON = "ndjson"
    ARRAY = "json array"
    FRAMES = "event stream"
    SOCKET = "websocket"
    LINES = "json lines"

    @property
    def flows(self) -> bool:
        """Whether the answer is a stream, read piece by piece."""
        return self not in (Form.JSON, Form.LINES)


RAW_1, RAW_2 = "http/1.1", "h2"
"""Clients that are no SDK: httpx, with requests written out by hand."""
SOCKETS = "openai-python over websocket"
"""OpenAI's SDK where it speaks WebSocket: other calls, other errors."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint as it is called. host, template: with every hole filled but the model's."""

    provider: str
    host: str
    method: str
    listed: str
    template: str
    dialect: str
    operation: Operation
    stream: bool | None
    first: bool
    """Whether it is its provider's first of this dialect and operation."""
    leads: bool
    """Whether it is the catalogue's first of them."""
    model_in_path: bool

    @property
    def filed(self) -> Filed | None:
        """What it is for, if it is one of those of files and batches that are run."""
        return filed(self.provider, self.method, self.listed)

    @property
    def forms(self) -> tuple[Form, ...]:
        """The ways its answers can travel."""
        if self.method == "WS":
            return (Form.SOCKET,)
        if self.filed is not None:
            lines = self.filed is Filed.RESULTS and self.dialect != "gemini_batch"
            return (Form.LINES if lines else Form.JSON,)
        streams = _STREAMS.get(self.dialect, ())
        if self.operation not in (Operation.CHAT, Operation.COMPLETION) or self.stream is False:
            return (Form.JSON,)
        return streams if self.stream else (Form.JSON, *streams)


@dataclass(frozen=True, slots=True)
class Case:
    route: Route
    client: str
    form: Form
    outcome: Outcome

    @property
    def row(self) -> str:
        """The case less its outcome; unique for route, client and form, and the same on every run."""
        route = self.route
        return f"{route.provider} {route.method} {route.listed} | {self.client} | {self.form}"

    @property
    def id(self) -> str:
        return re.sub(r"[^A-Za-z0-9.:_/+-]+", "-", f"{self.row} {self.outcome}")


@dataclass(frozen=True, slots=True)
class Sdk:
    """An official client library.

    home: providers it is made for, the foremost first. endings: of the paths it calls. compatible: whether it works
    with other providers too, given their address.
    """

    name: str
    dialects: frozenset[str]
    home: tuple[str, ...]
    endings: tuple[str, ...]
    compatible: bool = False


SDKS = (
    *(
        Sdk(
            name,
            frozenset({"openai_chat", "openai_responses", "openai_completions", "openai_embeddings"}),
            ("openai", "azure_openai"),
            ("/chat/completions", "/responses", "/completions", "/embeddings", "/moderations"),
            compatible=True,
        )
        for name in ("openai-python", "openai-node")
    ),
    Sdk(
        SOCKETS,
        frozenset({"openai_realtime", "openai_responses_socket"}),
        ("openai", "azure_openai"),
        ("/v1/realtime", "/v1/responses"),
    ),
    *(
        Sdk(
            name,
            frozenset({"anthropic_messages"}),
            ("anthropic",),
            ("/v1/messages", "/v1/messages/count_tokens"),
            compatible=True,
        )
        for name in ("anthropic-python", "anthropic-node")
    ),
    Sdk(
        "google-genai",
        frozenset({"gemini_generate"}),
        ("gemini",),
        (":generateContent", ":streamGenerateContent", ":countTokens", ":batchEmbedContents"),
    ),
    Sdk(
        "boto3",
        frozenset({"bedrock_converse", "bedrock_invoke"}),
        ("bedrock",),
        ("/converse", "/converse-stream", "/invoke", "/invoke-with-response-stream"),
    ),
    Sdk("cohere", frozenset({"cohere_v2"}), ("cohere",), ("/v2/chat", "/v2/embed")),
    Sdk(
        "mistralai",
        frozenset({"openai_chat", "openai_completions", "openai_embeddings"}),
        ("mistral",),
        ("/v1/chat/completions", "/v1/fim/completions", "/v1/embeddings"),
    ),
    Sdk(
        "ollama", frozenset({"ollama_chat"}), ("ollama_cloud",), ("/api/chat", "/api/generate", "/api/embed")
    ),
)

_STREAMS: dict[str, tuple[Form, ...]] = {
    "openai_chat": (Form.SSE,),
    "openai_responses": (Form.SSE,),
    "openai_completions": (Form.SSE,),
    "anthropic_messages": (Form.SSE,),
    "gemini_generate": (Form.SSE, Form.ARRAY),
    "cohere_v2": (Form.SSE,),
    "ollama_chat": (Form.NDJSON,),
    "bedrock_converse": (Form.FRAMES,),
    "bedrock_invoke": (Form.FRAMES,),
}
_WRITTEN = frozenset((*_STREAMS, "openai_embeddings"))
_HOLES = {
    "project": "acme-prod",
    "location": "us-central1",
    "region": "eu-central-1",
    "subdomain": "acme",
    "id": "acme",
    "inner_id": "acme",
    "embedding_model": "text-embedding-lab",
    "image_model": "imagen-lab",
}
_MODEL_HOLES = ("{model}", "{deployment}", "{bedrock_model}")
_SPOKEN = frozenset(
    (Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING, Operation.COUNT_TOKENS, Operation.MODERATION)
)


NOT_HELD: dict[str, str] = {}
"""Cases known not to hold, by id, each with the reason."""


@cache
def catalogue() -> Catalogue:
    return shipped_catalogue()


@cache
def routes() -> tuple[Route, ...]:
    """Every endpoint of every provider of the catalogue, in its order."""
    found: list[Route] = []
    led: set[tuple[object, ...]] = set()
    for provider in catalogue():
        for route in _routes(provider):
            found.append(replace(route, leads=_kind(route) not in led))
            led.add(_kind(route))
    return tuple(found)


def not_run() -> dict[str, str]:
    """Return the rows of the catalogue that are not run at all, each with the reason."""
    listed = {f"{r.provider} {r.method} {r.listed}": _why_not(r) for r in routes()}
    unread = {p.name: "no endpoint that is read: refused as unknown" for p in catalogue() if not p.inspected}
    return {row: reason for row, reason in listed.items() if reason} | unread


@cache
def cases() -> tuple[Case, ...]:
    """Every case that is run, by scripts/conformance."""
    every = (case for route in routes() if not _why_not(route) for case in _cases(route))
    return tuple(case for case in every if case.id not in NOT_HELD)


@cache
def suite() -> tuple[Case, ...]:
    """The cases that the test suite runs: of routes and SDKs like others, masking and stopping alone."""
    return tuple(case for case in cases() if _is_unlike_others(case) or case.outcome in _briefest(case))


def _is_unlike_others(case: Case) -> bool:
    if case.route.filed is not None:
        return True
    sdk = next((sdk for sdk in SDKS if sdk.name == case.client), None)
    if sdk is None:
        return case.route.leads
    return case.route.first and case.route.provider == sdk.home[0]


def _briefest(case: Case) -> tuple[Outcome, ...]:
    if case.client in (RAW_1, RAW_2):
        brief = (Outcome.MASK,) if case.form is Form.JSON else (Outcome.MASK, Outcome.STOP)
        return brief if case.client == RAW_1 and case.route.first else ()
    return (Outcome.MASK,) if case.form is not Form.JSON else ()


def host_of(provider: Provider) -> str:
    """Return a host of a provider, with every hole filled."""
    return _filled(provider.hosts[0].replace("*", "acme"))


def _routes(provider: Provider) -> Iterator[Route]:
    seen: set[tuple[str, Operation, bool | None]] = set()
    host = host_of(provider)
    for method, path, operation in provider.routes.listed:
        template = _filled(path)
        endpoint = provider.endpoint(method, _with_model(template, "model-lab"))
        assert isinstance(endpoint, Endpoint), f"{provider.name}: {method} {path} does not find itself"
        key = (endpoint.dialect, operation, endpoint.stream)
        yield Route(
            provider.name,
            host,
            method,
            path,
            template,
            endpoint.dialect,
            operation,
            endpoint.stream,
            first=key not in seen,
            leads=False,
            model_in_path=any(hole in path for hole in _MODEL_HOLES),
        )
        seen.add(key)


def _kind(route: Route) -> tuple[object, ...]:
    return (route.dialect, route.operation, route.stream)


def _filled(path: str) -> str:
    return re.sub(r"\{([a-z_]+)\}", lambda found: _HOLES.get(found[1], found[0]), path)


def _with_model(template: str, model: str) -> str:
    for hole in _MODEL_HOLES:
        template = template.replace(hole, model)
    return template


def target_of(route: Route, model: str) -> str:
    """Return the path of a call, with the model where the path names it."""
    return _with_model(route.template, model)


def _why_not(route: Route) -> str:
    if route.method == "WS":
        return ""
    if route.operation is Operation.LIST_MODELS:
        return ""
    if route.filed is not None:
        return ""
    if route.operation in (Operation.FILE, Operation.BATCH):
        return f"{route.operation}: says nothing that the rows of files and batches do not"
    if route.operation not in _SPOKEN:
        return f"{route.operation}: media have tests of their own"
    if route.dialect not in _WRITTEN or route.template.endswith((":predict", "/ocr")):
        return "no body is written here for it"
    return ""


_OUTCOMES_FILED = {
    Filed.UPLOAD: (Outcome.PASS, Outcome.MASK, Outcome.REFUSE, Outcome.ERROR, Outcome.ABORT),
    Filed.BATCH: (Outcome.PASS, Outcome.MASK, Outcome.REFUSE, Outcome.ERROR, Outcome.ABORT),
    Filed.UNREAD: (Outcome.PASS, Outcome.ERROR, Outcome.ABORT),
    Filed.STATUS: (Outcome.PASS, Outcome.ERROR, Outcome.ABORT),
    Filed.RESULTS: (
        Outcome.PASS,
        Outcome.MASK,
        Outcome.STOP,
        Outcome.ERROR,
        Outcome.BROKEN,
        Outcome.ABORT,
    ),
}
"""What can happen to a file or a batch; a file that is cut or cannot be read is a text like any other."""
_FILED_SDKS = {"openai": "openai-python", "anthropic": "anthropic-python", "gemini": "google-genai"}


def _cases_filed(route: Route, kind: Filed) -> Iterator[Case]:
    (form,) = route.forms
    sdk = _FILED_SDKS.get(route.provider)
    for client in (RAW_1, sdk) if sdk else (RAW_1,):
        for outcome in _OUTCOMES_FILED[kind]:
            if sdk is not None or outcome is Outcome.MASK:
                yield Case(route, client, form, outcome)


def _cases(route: Route) -> Iterator[Case]:
    if route.filed is not None:
        yield from _cases_filed(route, route.filed)
        return
    for form in route.forms:
        for client in (RAW_1, RAW_2):
            for outcome in _outcomes_raw(route, form, client):
                yield Case(route, client, form, outcome)
        for sdk in SDKS:
            for outcome in _outcomes_sdk(route, form, sdk):
                yield Case(route, sdk.name, form, outcome)


def _outcomes_raw(route: Route, form: Form, client: str) -> tuple[Outcome, ...]:
    if form is Form.SOCKET and client != RAW_1:
        return ()  # extended CONNECT is not offered
    if client == RAW_1:
        return _possible(route, form) if route.first else _possible(route, form, _briefly(form, least=True))
    if route.method == "GET" or not route.first:
        return ()
    return _possible(route, form, tuple(Outcome) if route.leads else _briefly(form))


def _outcomes_sdk(route: Route, form: Form, sdk: Sdk) -> tuple[Outcome, ...]:
    at_home = route.provider in sdk.home
    if route.dialect not in sdk.dialects or not (at_home or (sdk.compatible and route.first)):
        return ()
    if not route.template.endswith(sdk.endings) or form is Form.ARRAY:
        return ()
    if sdk.compatible and route.template.endswith("/fim/completions"):
        return ()  # answered in the shape of a chat
    whole = at_home and route.first
    return _possible(route, form, tuple(Outcome) if whole else _briefly(form, least=at_home))


def _briefly(form: Form, *, least: bool = False) -> tuple[Outcome, ...]:
    """Return the outcomes of a route whose like is run whole elsewhere. least: the least of them."""
    if form is Form.JSON or least:
        return (Outcome.MASK,)
    return (Outcome.MASK, Outcome.REFUSE, Outcome.STOP)


def _possible(route: Route, form: Form, wanted: tuple[Outcome, ...] = tuple(Outcome)) -> tuple[Outcome, ...]:
    if form is Form.SOCKET:
        return tuple(outcome for outcome in wanted if outcome is not Outcome.TRUNCATE)  # the session goes on
    if route.method == "GET":
        return (Outcome.PASS,)
    if route.operation not in (Operation.CHAT, Operation.COMPLETION):
        spoken = (Outcome.PASS, Outcome.MASK, Outcome.REFUSE, Outcome.ERROR)
        return tuple(outcome for outcome in spoken if outcome in wanted)
    return wanted
