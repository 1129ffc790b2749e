"""What all JSON dialects do alike: read strictly, walk by shape, splice, refuse in JSON."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool
from sallyport.wire import fields, jsonset, jsonsplice
from sallyport.wire.dialect import Answer, Call, StreamReader
from sallyport.wire.endings.mute import Mute
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse, parse_object
from sallyport.wire.mediatype import require_json
from sallyport.wire.settings import Settings, absent
from sallyport.wire.shape import Reading, Shape, walk

MAX_RETRY_AFTER_S = 60


class JsonDialect(Mute, ABC):
    """A dialect whose requests and answers are JSON objects.

    request, answer, problem: shapes of a request, an answer, an error body.
    codes: members of an error that may hold its code, best first. settings: where its settings stand.
    """

    name: str
    request: Shape
    answer: Shape
    problem: Shape
    codes: tuple[str, ...] = ("code", "type", "status")
    settings: Settings = Settings()

    def read_request(self, body: bytes, call: Call) -> Request:
        require_json(call.content_type)
        payload = parse_object(body)
        self.check(payload, call.operation)
        reading = walk(payload, self.request)
        self._read_unused_model(payload, call, reading)
        limit, answers = self.limit(payload), self.answers(payload)
        parameters = self.settings.read(payload)
        return Request(
            provider=call.provider,
            dialect=self.name,
            operation=call.operation,
            model=fields.model(payload, call),
            segments=tuple(reading.segments),
            attachments=tuple(reading.attachments),
            tools=self.tools(payload),
            stream=fields.stream(payload, call),
            max_output_tokens=None if limit is None else limit * answers,
            previous=self.previous(payload),
            answers=answers,
            declared=self.declared(payload),
            parameters=parameters,
            unset=absent(self.places(payload, call), parameters),
            structured=self.structured(payload),
            schema=self.schema(payload),
            cache_ttl=reading.cache_ttl,
        )

    @staticmethod
    def _read_unused_model(payload: dict[str, Json], call: Call, reading: Reading) -> None:
        """Where a provider goes by its target, a model in the body is no name but a text like any other."""
        named = payload.get("model")
        unused = call.model is not None and type(named) is str and named != call.model
        if unused and all(segment.at != "/model" for segment in reading.segments):
            reading.text("/model", Surface.DOCUMENT, str(named))

    def read_response(self, body: bytes, status: int) -> Response:
        payload = parse(body, MAX_ANSWER_NODES)
        if status >= 400 or type(payload) is not dict:
            reading = walk(payload, self.problem)
            code = fields.error_code(payload, status, *self.codes) if status >= 400 else None
            return Response(status, tuple(reading.segments), error=code)
        reading = walk(payload, self.answer)
        answer = self.read_answer(payload, reading, status)
        return replace(answer, attachments=tuple(reading.attachments)) if reading.attachments else answer

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        return jsonsplice.edit(body, edits)

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        return jsonset.change(body, changes)

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        """An error status serves streams as well: every SDK raises on it before it reads events."""
        return Answer(refusal.status, headers(refusal), dump(self.error(refusal)))

    def ask_usage(self, body: bytes) -> bytes | None:
        """Most formats report usage unasked."""
        return None

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        """Return the names of the tools a request declares."""
        return ()

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        """Return the tools a request declares, with who runs them."""
        return ()

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        """Return where a setting goes that the body leaves out, by its normal name."""
        return {}

    def structured(self, payload: dict[str, Json]) -> bool:
        """Say whether the answer has to be JSON, which a sentence of the gateway's is not."""
        return False

    def schema(self, payload: dict[str, Json]) -> str | None:
        """Return the JSON schema that the answer has to fit, as JSON text; see wire/answerschema.py."""
        return None

    def limit(self, payload: dict[str, Json]) -> int | None:
        """Return the most tokens that each answer may have, as the request says."""
        return None

    def answers(self, payload: dict[str, Json]) -> int:
        """Return how many answers the request asks for."""
        return 1

    def previous(self, payload: dict[str, Json]) -> str | None:
        """Return the id of what the request continues."""
        return None

    @abstractmethod
    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        """Raise WireError if an essential member is missing or has the wrong type."""

    @abstractmethod
    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        """Return a success answer; its texts are in the reading."""

    @abstractmethod
    def error(self, refusal: Refusal) -> dict[str, Json]:
        """Return the body of a refusal."""

    @abstractmethod
    def stream_error(self, refusal: Refusal) -> bytes:
        """Return bytes that end a started stream so that the provider's SDK raises."""

    @abstractmethod
    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        """Return a reader for one streamed answer."""


def headers(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """Return the headers of a refusal. A long Retry-After would put some SDKs to sleep: leave it out."""
    fixed = (
        ("content-type", "application/json"),
        ("x-should-retry", "false"),
        ("x-sallyport-decision", refusal.decision_id),
    )
    if refusal.retry_after_s is None or not 0 < refusal.retry_after_s <= MAX_RETRY_AFTER_S:
        return fixed
    return (*fixed, ("retry-after", str(refusal.retry_after_s)))


def message(refusal: Refusal) -> str:
    """Return the sentence a caller reads; it always names the decision."""
    if refusal.decision_id in refusal.message:
        return refusal.message
    return f"{refusal.message} (decision {refusal.decision_id})".lstrip()


def dump(payload: Json) -> bytes:
    """Return compact JSON in ASCII, so that any text of a message makes valid bytes."""
    return json.dumps(payload, separators=(",", ":")).encode()
