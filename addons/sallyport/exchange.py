"""The values of one AI exchange: what was asked, by whom, and what came back.

Everything here is frozen. Nothing here knows JSON, HTTP, a provider or a policy.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Surface(StrEnum):
    """Who wrote a text, and therefore how far it is trusted."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    TOOL_DEFINITION = "tool_definition"
    DOCUMENT = "document"


class Operation(StrEnum):
    """What a call asks the provider to do."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    COUNT_TOKENS = "count_tokens"
    MODERATION = "moderation"
    BATCH = "batch"
    FILE = "file"
    """Files, stores and jobs at the provider: put there, listed, looked at, fetched, searched, deleted."""
    IMAGE = "image"
    AUDIO = "audio"
    LIST_MODELS = "list_models"
    PREFLIGHT = "preflight"
    """A browser asks whether a page may make a call. It has no body and no credential."""
    OPAQUE = "opaque"

    @property
    def generates(self) -> bool:
        """Whether a model writes an answer, of which max_output_tokens or the model decides the length."""
        return self in (Operation.CHAT, Operation.COMPLETION, Operation.BATCH)

    @property
    def is_billed(self) -> bool:
        """Whether providers charge tokens for it."""
        return self.generates or self in (Operation.EMBEDDING, Operation.IMAGE, Operation.AUDIO)


@dataclass(frozen=True, slots=True)
class Segment:
    """One text of a body.

    at: RFC 6901 pointer into the body as it arrived; a pointer that ends in "~k" names the
        member's key instead of its value ("~k" is no valid RFC 6901 escape, so it cannot collide), one that ends in
        "~t" the text of a file that the value holds in base64.
    text: the decoded string; all offsets into it are code points.
    """

    at: str
    surface: Surface
    text: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """Content of a body that is not text the gateway reads: an image, a sound, a file by reference.

    size: decoded bytes where the content is inline, None where the provider fetches it.
    """

    at: str
    media_type: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider reported them, normalised; None means not reported.

    input holds all prompt tokens including cached ones; output includes reasoning. cache_write_1h is the part
    of cache_write kept for an hour; audio_input and audio_output are parts of input and output. searches: web
    searches the provider made. tier: the service tier or speed that it names, "" where it names none.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    searches: int | None = None
    tier: str = ""


class ToolKind(StrEnum):
    """Who runs a tool: the client itself, the provider, or a server that the provider calls."""

    FUNCTION = "function"
    HOSTED = "hosted"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a request declares.

    name: of a function as declared, of a hosted tool its type (web_search), of an MCP server its label.
    server: host of an MCP server, lower case, or the name of the provider's own connector; "" for other kinds.
    """

    name: str
    kind: ToolKind = ToolKind.FUNCTION
    server: str = ""


type Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of a request under its normal name: temperature, top_p, n, store, max_output_tokens, ...

    at: RFC 6901 pointer to its value in the body as it arrived.
    """

    name: str
    value: Scalar
    at: str


FALLBACK_MODEL = "fallback_model"
"""Name among the settings of each model that may answer in place of the one a request names, or that its tools ask."""


@dataclass(frozen=True, slots=True)
class Request:
    """A provider request as its dialect reads it.

    model: as the client named it, None where the call names none.
    tools: names of the tools declared in the request; declared: the same with who runs them.
    answers: how many it asks for at once; max_output_tokens is what all of them together may have.
    previous: id of an earlier response this request continues at the provider, if any.
    makers: who has made each of the things at the provider that it names by an id, tenant and principal; None of what
    this gateway has not seen made.
    seen: pointers of what it names by an id and this conversation was given here, so that it is no attachment.
    kept_tokens: of what it continues, as far as the gateway has seen that: the provider reads and charges it again.
    unset: settings the body leaves out and the dialect could put into it: normal name, pointer.
    region: where the host, the path and the model say that it is processed, "" where they do not tell.
    endpoint: method and path template of the catalogue, `POST /v1/responses`; "" where it has none.
    cache_ttl: how long the provider is asked to keep the input in its cache: 5m, or 1h where it may be longer; "" where
    it is not asked.
    structured: the answer has to be JSON of a schema of its own. schema: that schema as JSON text, `{}` for JSON of
    any form; None where none is declared.
    """

    provider: str
    dialect: str
    operation: Operation
    model: str | None
    segments: tuple[Segment, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    tools: tuple[str, ...] = ()
    stream: bool = False
    max_output_tokens: int | None = None
    previous: str | None = None
    answers: int = 1
    declared: tuple[Tool, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    unset: tuple[tuple[str, str], ...] = ()
    region: str = ""
    endpoint: str = ""
    structured: bool = False
    schema: str | None = None
    cache_ttl: str = ""
    kept_tokens: int = 0
    makers: tuple[tuple[str, str] | None, ...] = ()
    seen: tuple[str, ...] = ()

    def having_seen(self, places: Collection[str]) -> "Request":
        """Return it without the attachments at these pointers: they are no content that nobody has read."""
        left = tuple(a for a in self.attachments if a.at not in places)
        return replace(self, attachments=left, seen=tuple(sorted(places)))

    @property
    def asks_json(self) -> bool:
        """Whether the answer is to be JSON, of a schema or of any form."""
        return self.structured or self.schema is not None

    @property
    def goes_on(self) -> bool:
        """Whether it continues a conversation that the provider reads again; a batch names a file."""
        return self.previous is not None and self.operation in (Operation.CHAT, Operation.COMPLETION)

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The models that may answer in place of the one it names. What its tools ask answers nobody here."""
        others = (p for p in self.parameters if p.name == FALLBACK_MODEL and "/tools/" not in p.at)
        return tuple(str(p.value) for p in others)


@dataclass(frozen=True, slots=True)
class Response:
    """A provider answer as its dialect reads it.

    finish_reason: normal form: stop, length, tool, filtered, pause, error, pending; None if not said. pause: the
    client has to ask again so that it goes on; pending: it goes on by itself, and is told to whoever asks later.
    error: the provider's own error code or type where the answer is an error, never its text.
    attachments: content of the answer that is no text. made: ids of what the answer names as its own (files, jobs, a
    container, sounds), by which a later call continues the conversation.
    """

    status: int
    segments: tuple[Segment, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    error: str | None = None
    attachments: tuple[Attachment, ...] = ()
    made: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that the TLS handshake has verified.

    fingerprint: SHA-256 of its DER, lower-case hex. uris, names, emails: of its subject alternative name.
    """

    fingerprint: str
    common_name: str = ""
    uris: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


class KeyForm(StrEnum):
    """What the credential of a call looks like.

    GATEWAY: a key this gateway issues in place of a real one. FORGED: a gateway key that is not this gateway's:
    forged, mistyped, or of another gateway. SEVERAL: a gateway key beside something else.
    """

    PROVIDER = "provider"
    GATEWAY = "gateway"
    FORGED = "forged"
    SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class Client:
    """What the wire says of a caller; beside the certificate and the proxy user nobody has proved any of it.

    credential: keyed fingerprint of the provider credential, never the credential; None where there is none, or
    more than one. credentials: the fingerprints of all there are, sorted. key_form: what they look like.
    key_ids: like credentials, of a signature the fingerprint of its access key id, which is the same on every request.
    headers: request headers that carry no credential, names in lower case.
    proxy_user: whom the explicit proxy's own authentication has proved, "" where nobody.
    tls: what the client hello looks like, a digest in the manner of JA4; "" without TLS.
    """

    address: str
    mode: str
    credential: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    certificate: Certificate | None = None
    proxy_user: str = ""
    tls: str = ""
    credentials: tuple[str, ...] = ()
    key_ids: tuple[str, ...] = ()
    key_form: KeyForm = KeyForm.PROVIDER


@dataclass(frozen=True, slots=True)
class Principal:
    """Who speaks. confidence: 0 (nobody named it) to 1 (a verified certificate)."""

    id: str
    tenant: str
    roles: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    source: str = "anonymous"
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounds an exchange while it is decided.

    behaviour_score: how unusual its principal is now, 0 to 1. behaviour_reasons: names of what is unusual, the
    strongest first. in_flight: exchanges under way in this gateway, this one included.
    """

    behaviour_score: float = 0.0
    behaviour_reasons: tuple[str, ...] = ()
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and, later, its answer. conversation: keyed digest, stable over the turns."""

    id: str
    conversation: str
    received_at: datetime
    host: str
    client: Client
    request: Request
    principal: Principal | None = None
    response: Response | None = None
