"""Operators' recogniser files in Presidio's YAML: patterns, deny lists and Presidio's own classes by name.

Everything that Presidio reads there is either taken or refused with file and line; nothing is passed over in
silence, for a recogniser that does not run looks like a text without findings. One recogniser serves all its
languages, because nobody says in which language a prompt is: the words of all are its context.
Read from presidio-analyzer 2.2.366 (recognizer_registry, input_validation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from sallyport.errors import OperatorError
from sallyport.fold import fold

if TYPE_CHECKING:
    from presidio_analyzer import PatternRecognizer

FOUND_BY_RULES = frozenset(
    [
        "CreditCardRecognizer",
        "DateRecognizer",
        "EmailRecognizer",
        "IbanRecognizer",
        "IpRecognizer",
        "PhoneRecognizer",
        "UrlRecognizer",
        "UsSsnRecognizer",
    ]
)
"""Classes whose types the rules find; Presidio's own would fetch a list of domains, or log what it met."""

_TOP = frozenset(
    [
        "recognizers",
        "supported_languages",
        "global_regex_flags",
        "supported_countries",
        "default_score_threshold",
    ]
)
_ENTRY = frozenset(
    [
        "name",
        "class_name",
        "type",
        "enabled",
        "supported_language",
        "supported_languages",
        "supported_entity",
        "supported_entities",
        "patterns",
        "deny_list",
        "deny_list_score",
        "context",
        "global_regex_flags",
        "country_code",
        "version",
    ]
)
_ITS_OWN = frozenset(["patterns", "deny_list", "deny_list_score", "global_regex_flags"])


class _File:
    """A file being read; it knows the line of every node."""

    def __init__(self, path: Path) -> None:
        self._name = path.name

    def refuse(self, line: int, what: str, todo: str) -> Never:
        raise OperatorError(f"{self._name}:{line}", what, todo) from None

    @staticmethod
    def line(node: Any, key: str | int | None = None) -> int:
        """Return the line of a mapping or list, or of what stands in it under a key."""
        place = getattr(node, "lc", None)
        if place is None or place.line is None:
            return 1
        try:
            found = place.key(key) if isinstance(key, str) else place.item(key) if key is not None else None
        except (KeyError, IndexError, TypeError):
            found = None
        return int(found[0] if found else place.line) + 1


def read(path: Path) -> Iterator[tuple[str, PatternRecognizer]]:
    """Yield (name, recogniser) for each entry that is enabled, its context folded. Raises OperatorError."""
    file = _File(path)
    tree = _parsed(file, path)
    if isinstance(tree, Mapping) and isinstance(tree.get("recognizer_registry"), Mapping):
        tree = tree["recognizer_registry"]
    if not isinstance(tree, Mapping) or not isinstance(tree.get("recognizers"), list):
        file.refuse(1, "has no list of recognizers", "Begin it with recognizers: and a list")
    for key in tree:
        if key not in _TOP:
            file.refuse(file.line(tree, key), f"{key} is unknown", f"Use {', '.join(sorted(_TOP))}")
    flags = _number(file, tree, "global_regex_flags", whole=True)
    countries = tree.get("supported_countries")
    for index, entry in enumerate(tree["recognizers"]):
        line = file.line(tree["recognizers"], index)
        if isinstance(entry, str):
            entry = {"name": entry, "type": "predefined"}
        if not isinstance(entry, Mapping):
            file.refuse(line, "is no recogniser", "Write a name, or a mapping with a name")
        made = _entry(file, entry, line, flags, countries)
        if made is not None:
            yield str(entry.get("name", made.supported_entities[0])), made


def _parsed(file: _File, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(path.read_text("utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        file.refuse(line, f"is not YAML: {error.problem}", "Mend the syntax")
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        file.refuse(1, f"cannot be read: {type(error).__name__}", "Save it as YAML in UTF-8")


def _entry(
    file: _File, entry: Mapping[str, Any], line: int, flags: int | None, countries: list[str] | None
) -> PatternRecognizer | None:
    """Return the recogniser of an entry; None where it is switched off or found by rules."""
    for key in entry:
        if key not in _ENTRY:
            known = f"Leave it out, or use {', '.join(sorted(_ENTRY))}; limits for scores are in the policy"
            file.refuse(file.line(entry, key), f"{key} is not supported", known)
    kind = entry.get("type") or ("custom" if _ITS_OWN & entry.keys() else "predefined")
    if kind not in ("custom", "predefined"):
        file.refuse(file.line(entry, "type"), f"type {kind} is unknown", "Use custom or predefined")
    if not entry.get("enabled", True):
        return None
    if entry.get("supported_language") and entry.get("supported_languages"):
        file.refuse(line, "has supported_language and supported_languages", "Keep one of them")
    entity, words = _entity(file, entry), _context(file, entry)
    if kind == "predefined":
        return _predefined(file, entry, line, entity, words, countries)
    if entity is None:
        file.refuse(line, "has no supported_entity", "Name the type of its findings")
    return _custom(file, entry, line, entity, words, flags)


def _entity(file: _File, entry: Mapping[str, Any]) -> str | None:
    if "supported_entity" in entry and "supported_entities" in entry:
        todo = "Keep supported_entity"
        file.refuse(file.line(entry, "supported_entities"), "names its type twice", todo)
    given = entry.get("supported_entity", entry.get("supported_entities"))
    if isinstance(given, list):
        if len(given) != 1:
            at = file.line(entry, "supported_entities")
            file.refuse(at, f"has {len(given)} types", "Write one entry for each type")
        given = given[0]
    if given is not None and (not isinstance(given, str) or not given.isidentifier()):
        key = "supported_entity" if "supported_entity" in entry else "supported_entities"
        file.refuse(file.line(entry, key), "is no name of a type", "Write it as in ACME_BADGE")
    return given


def _context(file: _File, entry: Mapping[str, Any]) -> list[str]:
    """Return the context words of the entry and of all its languages."""
    words = _texts(file, entry, "context")
    languages = entry.get("supported_languages") or []
    if not isinstance(languages, list):
        file.refuse(file.line(entry, "supported_languages"), "is no list of languages", "Write [en, de]")
    for index, language in enumerate(languages):
        if isinstance(language, Mapping) and isinstance(language.get("language"), str):
            words += _texts(file, language, "context")
        elif not isinstance(language, str):
            file.refuse(file.line(languages, index), "is no language", "Write en, or language: and context:")
    return [fold(word).lower() for word in dict.fromkeys(words)]


def _texts(file: _File, node: Mapping[str, Any], key: str) -> list[str]:
    given = node.get(key) or []
    if not isinstance(given, list) or not all(isinstance(item, str) and item for item in given):
        file.refuse(file.line(node, key), f"{key} is no list of texts", "Put numbers and yes/no into quotes")
    return list(given)


def _number(file: _File, node: Mapping[str, Any], key: str, *, whole: bool = False) -> Any:
    given = node.get(key)
    if given is None:
        return None
    right = not isinstance(given, bool) and isinstance(given, int if whole else (int, float))
    if not right or (not whole and not 0 <= given <= 1):
        file.refuse(file.line(node, key), f"{key} is no number", "Give flags as a sum, scores from 0 to 1")
    return given


def _predefined(
    file: _File,
    entry: Mapping[str, Any],
    line: int,
    entity: str | None,
    words: list[str],
    countries: list[str] | None,
) -> PatternRecognizer | None:
    from presidio_analyzer import PatternRecognizer, predefined_recognizers

    for key in _ITS_OWN & entry.keys():
        file.refuse(file.line(entry, key), f"{key} does not fit a predefined one", "Set type: custom")
    name = str(entry.get("class_name") or entry.get("name"))
    cls = getattr(predefined_recognizers, name, None)
    if not isinstance(cls, type):
        todo = "Check the name against presidio_analyzer.predefined_recognizers"
        file.refuse(line, f"{name} is no recogniser of the installed Presidio", todo)
    if name in FOUND_BY_RULES:
        return None
    if not issubclass(cls, PatternRecognizer):
        todo = "Set enabled: false; engines for names are set in detection.ner"
        file.refuse(line, f"{name} does not work by patterns", todo)
    country = getattr(cls, "COUNTRY_CODE", None)
    if countries and country and country.lower() not in {str(c).lower() for c in countries}:
        return None
    made: PatternRecognizer = cls()  # type: ignore[call-arg]
    if entity is not None:
        made.supported_entities = [entity]
    made.context = words or [fold(word).lower() for word in made.context or ()]
    return made


def _custom(
    file: _File, entry: Mapping[str, Any], line: int, entity: str, words: list[str], flags: int | None
) -> PatternRecognizer:
    import regex  # type: ignore[import-untyped]
    from presidio_analyzer import Pattern, PatternRecognizer

    own = _number(file, entry, "global_regex_flags", whole=True)
    flags = own if own is not None else flags
    patterns = []
    listed = entry.get("patterns") or []
    if not isinstance(listed, list):
        file.refuse(file.line(entry, "patterns"), "patterns is no list", "Write [{name, regex, score}]")
    for index, given in enumerate(listed):
        at = file.line(listed, index)
        if not isinstance(given, Mapping) or not isinstance(given.get("regex"), str) or "score" not in given:
            file.refuse(at, "is no pattern", "Give it name, regex and score")
        score = _number(file, given, "score")
        try:
            regex.compile(given["regex"])
        except regex.error as error:
            file.refuse(at, f"does not compile: {error}", "Use the syntax of Python's regex")
        patterns.append(Pattern(str(given.get("name", entity)), fold(given["regex"]), score))
    deny = [fold(word) for word in _texts(file, entry, "deny_list")]
    if not patterns and not deny:
        file.refuse(line, "has neither patterns nor a deny_list", "Give it one of them")
    chosen: dict[str, Any] = {} if flags is None else {"global_regex_flags": flags}
    score = _number(file, entry, "deny_list_score")
    return PatternRecognizer(
        supported_entity=entity,
        name=str(entry.get("name", entity)),
        patterns=patterns,
        deny_list=deny,
        deny_list_score=1.0 if score is None else score,
        context=words,
        **chosen,
    )
