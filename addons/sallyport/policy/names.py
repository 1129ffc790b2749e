"""What an operator may write about names and places: which engine looks for them, and what it may cost."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from sallyport.exchange import Surface
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import KIB, MIB, Section

type NamedEntity = Literal["PERSON", "LOCATION", "ORGANIZATION", "NRP"]

_ENGINE = r"(?:off|builtin|(?:spacy|transformers|onnx):[^\x00-\x1f\x7f]{1,500})"


def _engine(text: str) -> str:
    if not re.fullmatch(_ENGINE, text):
        todo = "Write `off`, `builtin`, `spacy:PACKAGE`, `spacy:PATH`, `transformers:FOLDER` or `onnx:FOLDER`"
        raise Wrong("this is no engine", todo)
    return text


EngineName = Annotated[
    str, AfterValidator(_engine), WithJsonSchema({"type": "string", "pattern": f"^{_ENGINE}$"})
]


class Ner(Section):
    """Names and places, found by an engine that learnt them, in processes of its own."""

    engine: EngineName = Field(
        default="off",
        description="`off`: rules only. `builtin`: the engine that ships with Sallyport. `spacy:PACKAGE` or "
        "`spacy:PATH` (with a slash): any spaCy pipeline. `transformers:FOLDER`, `onnx:FOLDER`: a token "
        "classifier in the layout of Hugging Face. Paths are relative to the policy file; nothing is fetched.",
    )
    entities: tuple[NamedEntity, ...] = Field(
        default=("PERSON", "LOCATION"), min_length=1, description="What to look for."
    )
    min_score: float = Field(default=0.3, ge=0, le=1, description="Less sure names are not findings at all.")
    workers: int = Field(
        default=1, ge=1, le=16, description="Processes that run the engine, each with a copy of it in memory."
    )
    deadline_s: float = Field(
        default=1.5,
        gt=0,
        le=60,
        description="Time for the names of one request, never more than `detection.deadline_s`; missed means "
        "could not decide, so refused.",
    )
    surfaces: tuple[Surface, ...] = Field(
        default=(
            *(Surface.USER, Surface.ASSISTANT, Surface.REASONING),
            *(Surface.TOOL_CALL, Surface.TOOL_RESULT, Surface.DOCUMENT),
        ),
        min_length=1,
        description="Surfaces that are searched. The fixed head (system prompt, tool definitions) seldom "
        "needs it.",
    )
    max_queue_chars: int = Field(
        default=2 * MIB,
        ge=KIB,
        le=64 * MIB,
        description="Characters of all requests together that may wait for the engine; beyond, a request "
        "could not be decided at once.",
    )

    @property
    def is_on(self) -> bool:
        return self.engine != "off"

    def folder(self, beside: Path) -> Path | None:
        """Return the folder the engine is in, resolved against another; None where it is named otherwise."""
        kind, _, place = self.engine.partition(":")
        return beside / place if place and (kind != "spacy" or "/" in place) else None
