"""A few keys of a policy file are set, and every other byte of it stays: comments, order, quotes, line ends.

The file is valid before: read by `source`, so that it has no anchors, tags or duplicate keys.
"""

from collections.abc import Mapping

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sallyport.errors import OperatorError
from sallyport.policy.source import At


def with_keys(text: str, at: At, values: Mapping[str, str | None]) -> str:
    """Return the text of a file in which keys of the mapping at a path have these values.

    values: as they are written in YAML, on one line; None takes the key out. A mapping of the top that the file has
    not is put at its end. Raises OperatorError for what is written in a way that cannot be edited.
    """
    if len(at) == 1 and _find(_root(text, at), at) is None:
        written = [(key, value) for key, value in values.items() if value is not None]
        lines = [f"{at[0]}:", *(f"  {key}: {value}" for key, value in written)]
        ending = _line_end(text)
        return text + ("" if text.endswith("\n") else ending) + "".join(line + ending for line in lines)
    after: str | None = None
    for key, value in values.items():
        found = _find(_root(text, at), at)
        if not isinstance(found, MappingNode):
            raise _cannot(at)
        place = _pair(found, key)
        if place is not None and _is_empty(found.value[place][1]):
            raise _cannot(at)  # it lies where the next thing begins
        if place is not None and value is None:
            text = _without(text, found, place, at)
        elif place is not None and value is not None:
            start, end = found.value[place][1].start_mark.index, _end(found.value[place][1])
            text = text[:start] + value + text[end:]
        elif value is not None:
            text = _with_new(text, found, f"{key}: {value}", after, at)
        after = key
    return text


def _root(text: str, at: At) -> Node | None:
    try:
        return YAML(typ="safe", pure=True).compose(text)  # type: ignore[no-any-return]
    except YAMLError:
        raise _cannot(at) from None  # an edit has broken it


def _cannot(at: At) -> OperatorError:
    return OperatorError(
        ".".join(map(str, at)), "it is written in a way that cannot be edited", "Edit the file by hand"
    )


def _find(node: Node | None, at: At) -> Node | None:
    for part in at:
        if isinstance(node, MappingNode) and (place := _pair(node, str(part))) is not None:
            node = node.value[place][1]
        elif isinstance(node, SequenceNode) and isinstance(part, int):
            node = node.value[part]
        else:
            return None
    return node


def _pair(node: MappingNode, key: str) -> int | None:
    """Return the place of a key among those of a mapping."""
    return next((place for place, (name, _) in enumerate(node.value) if name.value == key), None)


def _is_empty(node: Node) -> bool:
    return bool(node.start_mark.index == node.end_mark.index)


def _end(node: Node) -> int:
    """Return where the text of a value ends: a block ends with the last thing in it, not with what follows."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _next_line(text: str, at: int) -> int:
    """Return where the line after a place begins."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _with_new(text: str, node: MappingNode, written: str, after: str | None, at: At) -> str:
    """Put a key into a mapping: behind another one, else behind its first."""
    if not node.value:
        start = int(node.start_mark.index)
        if not node.flow_style:
            raise _cannot(at)
        return f"{text[: start + 1]}{written}{text[start + 1 :]}"
    known = None if after is None else _pair(node, after)
    key, value = node.value[known or 0]
    if node.flow_style:
        end = _end(value)
        return f"{text[:end]}, {written}{text[end:]}"
    column = " " * key.start_mark.column
    if isinstance(value, ScalarNode) and value.style in ("|", ">"):
        start = int(key.start_mark.index)
        return f"{text[:start]}{written}{_line_end(text)}{column}{text[start:]}"
    end = _next_line(text, _end(value))
    whole = text[:end] if text[:end].endswith("\n") else text[:end] + _line_end(text)
    return f"{whole}{column}{written}{_line_end(text)}{text[end:]}"


def _without(text: str, node: MappingNode, place: int, at: At) -> str:
    """Take a key out of a mapping."""
    key, value = node.value[place]
    start, end = int(key.start_mark.index), _end(value)
    if node.flow_style:
        if place:
            start = _end(node.value[place - 1][1])
        elif len(node.value) > 1:
            end = int(node.value[1][0].start_mark.index)
        return text[:start] + text[end:]
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip():
        raise _cannot(at)  # it begins an item of a list: what follows would have to move
    return text[:line] + text[_next_line(text, end) :]
