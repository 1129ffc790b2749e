"""What findings are called that no pattern of a pack makes: those of trained models, and of checks in code."""

from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.decision import Kind
from sallyport.detect.watching import leakage, schema, toolcalls, toxicity


@dataclass(frozen=True, slots=True)
class Patternless:
    """A rule without a pattern. level: what stands for its paranoia level, "model" or "check"."""

    id: str
    kind: Kind
    entity: str
    title: str
    how: str
    level: str


def patternless() -> Iterator[Patternless]:
    """Yield what the trained models that ship and the checks of answers report."""
    yield from _models()
    for id_, entity, title, key in _CHECKS:
        yield Patternless(
            id_, Kind.OUTPUT, entity, title, f"a check of answers ({key}): it has no pattern", "check"
        )


def _models() -> Iterator[Patternless]:
    from sallyport.detect.classifier.classifier import SURFACES
    from sallyport.detect.ner.frames import ENTITIES

    for entity in ENTITIES:
        what = "Nationality, religion or political group" if entity == "NRP" else entity.capitalize()
        how = "the engine for names (detection.ner): a trained model, it has no pattern and no points"
        yield Patternless(f"pii.ner.{entity}", Kind.PII, entity, f"{what} recognised as a name", how, "model")
    for place in dict.fromkeys(SURFACES.values()):
        surfaces = ", ".join(surface for surface, name in SURFACES.items() if name == place)
        yield Patternless(
            f"injection.classifier.{place}",
            Kind.INJECTION,
            "INSTRUCTION",
            f"Reads like a planted instruction ({surfaces})",
            "the injection classifier: a trained model, it has no pattern; its probability includes the rules",
            "model",
        )
    yield Patternless(
        toxicity.RULE,
        Kind.OUTPUT,
        "TOXICITY",
        "A hostile sentence of an answer",
        "the toxicity scorer (output.toxicity): a trained model, it has no pattern",
        "model",
    )


_CHECKS = (
    (leakage.SPOKEN, "SYSTEM_PROMPT", "Tells the system prompt of its conversation", "output.leak"),
    (leakage.ENCODED, "SYSTEM_PROMPT", "Tells the system prompt in base64 or hex", "output.leak"),
    (schema.NOT_JSON, "STRUCTURED_OUTPUT", "Is no JSON although a schema was declared", "output.structured"),
    (schema.INVALID, "STRUCTURED_OUTPUT", "Does not fit the declared schema", "output.structured"),
    (toolcalls.NOT_ALLOWED, "TOOL_CALL", "Calls a tool that is not allowed", "output.tools"),
    (toolcalls.ARGUMENT, "TOOL_CALL", "Calls a tool with arguments that are not allowed", "output.tools"),
    (toolcalls.UNREADABLE, "TOOL_CALL", "Calls a tool with arguments that are ambiguous", "output.tools"),
)
