"""Ordinary YAML, read by libyaml: what ruamel.yaml's round trip would return, in a thirtieth of its time.

Rule packs are half a megabyte of YAML that every gateway and every scan reads when it starts. Whatever the two
readers might take for different things is left to ruamel.yaml, and so is all that is wrong: its words are those
that an operator gets to see.
"""

import re
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.resolver import Resolver

try:
    from yaml import YAMLError, events  # type: ignore[import-untyped]
    from yaml.cyaml import CParser  # type: ignore[import-untyped]
except ImportError:  # PyYAML without libyaml, or none
    CParser = None

_ODD = re.compile("[\t\x85\u2028\u2029\ufeff]")
"""Blanks for one reader and mistakes, ends of lines or letters for the other."""

_MAX_DEPTH = 32
"""libyaml's time grows with the square of the brackets that are open."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}")
_TAG = "tag:yaml.org,2002:"
_FORMS: dict[str, list[tuple[str, re.Pattern[str]]]] = Resolver.yaml_implicit_resolvers
"""What a scalar without quotes may be other than a text, by its first character (YAML 1.2)."""


class _Unusual(Exception):
    """Something that the two readers might not read alike."""


def read_plain(text: str) -> CommentedMap | CommentedSeq | None:
    """Return the values of a YAML text with their places; None for what ruamel.yaml must read.

    Not read here: what is no YAML, has tabs or is nested deeper than 32, tags, directives, a second document, a key
    given twice, anchors of anything but lists and mappings, and numbers not written in the commonest way.
    """
    if CParser is None or _ODD.search(text):
        return None
    parser = CParser(text)
    try:
        return _tree(parser)
    except (YAMLError, _Unusual):
        return None
    finally:
        parser.dispose()


def _tree(parser: Any) -> CommentedMap | CommentedSeq:
    """Return the one document. Raises _Unusual, YAMLError."""
    root: CommentedMap | CommentedSeq | None = None
    stack: list[CommentedMap | CommentedSeq] = []
    keys: list[Any] = []  # of each open mapping: its last key and where it stands, None where one comes next
    anchors: dict[str, CommentedMap | CommentedSeq] = {}
    documents = 0
    while (event := parser.get_event()) is not None:
        kind, place = type(event), (event.start_mark.line, event.start_mark.column)
        if kind is events.ScalarEvent:
            if event.anchor is not None or event.tag is not None:
                raise _Unusual
            value = _scalar(event.value) if event.style in ("", None) else event.value
        elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
            if event.tag is not None or event.anchor in anchors or len(stack) == _MAX_DEPTH:
                raise _Unusual
            value = CommentedMap() if kind is events.MappingStartEvent else CommentedSeq()
            value._yaml_set_line_col(*place)
        elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
            stack.pop()
            keys.pop()
            continue
        elif kind is events.AliasEvent:
            value = anchors.get(event.anchor)
            if value is None or any(value is still_open for still_open in stack):
                raise _Unusual
            place = (value.lc.line, value.lc.col)
        else:
            documents += kind is events.DocumentStartEvent
            if documents > 1 or getattr(event, "version", None) or getattr(event, "tags", None):
                raise _Unusual
            continue
        _put(stack, keys, value, place)
        if kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
            root = value if root is None else root
            stack.append(value)
            keys.append(None)
            if event.anchor is not None:
                anchors[event.anchor] = value
    if root is None:
        raise _Unusual
    return root


def _put(
    stack: list[CommentedMap | CommentedSeq], keys: list[Any], value: Any, place: tuple[int, int]
) -> None:
    """Put a value, or a key, into the collection that is open. Raises _Unusual."""
    if not stack:
        return
    parent = stack[-1]
    if isinstance(parent, CommentedSeq):
        parent._yaml_set_idx_line_col(len(parent), [*place])
        parent.append(value)
    elif keys[-1] is None:
        if isinstance(value, CommentedMap | CommentedSeq) or value in parent:
            raise _Unusual
        keys[-1] = (value, *place)
    else:
        key, *begin = keys[-1]
        parent._yaml_set_kv_line_col(key, [*begin, *place])
        parent[key] = value
        keys[-1] = None


def _scalar(word: str) -> Any:
    """Return what a word without quotes stands for. Raises _Unusual."""
    for tag, form in _FORMS.get(word[:1], ()):
        if form.match(word):
            what = tag.removeprefix(_TAG)
            if what == "null":
                return None
            if what == "bool":
                return word.lower() == "true"
            if what == "int" and _INT.fullmatch(word):
                return int(word)
            if what == "float" and _FLOAT.fullmatch(word):
                return float(word)
            raise _Unusual
    return word
