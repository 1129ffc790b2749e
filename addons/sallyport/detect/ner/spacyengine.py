"""Any spaCy pipeline that finds entities: a trained one, rules, or both."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sallyport.detect.ner.engine import Engine, Span
from sallyport.detect.ner.labels import entity_of
from sallyport.detect.ner.revision import folder_revision
from sallyport.errors import OperatorError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SCORE = 0.85
"""spaCy's entities carry no probability; Presidio gives them this one."""

_FINDERS = ("ner", "entity_ruler", "span_ruler", "beam_ner")
_NOT_NEEDED = ["parser", "tagger", "lemmatizer", "morphologizer", "attribute_ruler", "senter", "textcat"]


class SpacyEngine:
    """Entities of a loaded pipeline, labels in Presidio's words."""

    def __init__(self, language: "Language", name: str, revision: str) -> None:
        self._language = language
        self.name = name
        self.revision = revision

    def spans(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        return [_spans(doc) for doc in self._language.pipe(texts)]


def find(place: str) -> Path:
    """Return the folder of an installed package or saved pipeline. Loads nothing. Raises OperatorError."""
    where = f"spacy:{place}"
    if find_spec("spacy") is None:
        raise OperatorError(where, "spaCy is not installed", "Install it: pip install spacy")
    return _folder(where, place)


def load(place: str) -> Engine:
    """Load an installed package, or a pipeline saved to a folder (a path has a slash). Raises OperatorError."""
    where = f"spacy:{place}"
    folder = find(place)
    import spacy

    try:
        language = spacy.load(place)
    except (OSError, ValueError, ImportError) as error:
        what = f"spaCy cannot load it ({type(error).__name__})"
        todo = "Check that it was made for the installed spaCy: python -m spacy validate"
        raise OperatorError(where, what, todo) from None
    finders = [language.get_pipe(name) for name in language.pipe_names if name in _FINDERS]
    if not any(entity_of(label) for pipe in finders for label in getattr(pipe, "labels", ())):
        what = "the pipeline has no component that finds people, places or organisations"
        raise OperatorError(where, what, "Name a pipeline with `ner` or an `entity_ruler`")
    if all(name in ("ner", "beam_ner") for name in language.pipe_names if name in _FINDERS):
        # Rules may ask for a part of speech or a lemma; a trained recogniser does not.
        language.select_pipes(disable=[n for n in _NOT_NEEDED if n in language.pipe_names])
    return SpacyEngine(language, where, folder_revision(folder, ("spacy",)))


def _folder(where: str, place: str) -> Path:
    if "/" in place:
        if not Path(place, "config.cfg").is_file():
            what = "there is no spaCy pipeline in this folder"
            raise OperatorError(where, what, "Save one there with nlp.to_disk(FOLDER)")
        return Path(place)
    spec = find_spec(place)
    if spec is None or spec.origin is None:
        what = "no spaCy package of this name is installed"
        raise OperatorError(where, what, f"Install it (python -m spacy download {place}), or give a path")
    return Path(spec.origin).parent


def _spans(doc: "Doc") -> tuple[Span, ...]:
    found = []
    for entity in doc.ents:
        name = entity_of(entity.label_)
        if name is not None and entity.end_char > entity.start_char:
            found.append(Span(entity.start_char, entity.end_char, name, SCORE))
    return tuple(found)
