"""A policy file as a Policy, or every problem in it at once. Plain functions: reading twice is reloading.

A reload reads whole and then swaps; where reading raises, the caller keeps the policy it has.
"""

import hashlib
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sallyport.data import policies_dir
from sallyport.decision import Mode
from sallyport.files import read_file
from sallyport.policy.access import Access
from sallyport.policy.layering import Layer, TenantFile, layer
from sallyport.policy.problems import PolicyError, Problem, Wrong, choices, nearest
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, Source, dotted, parse_source, read_source
from sallyport.policy.states import ConnectionSection, StageSection

PRESETS = ("observe", "balanced", "strict")


def load_policy(path: Path, *, mode: Mode | None = None, source: Source | None = None) -> Policy:
    """Read a policy file.

    mode: for the whole run, over the modes of file, sections and rules alike; None leaves them. source: what was read
    from the path, where it has been: a pipe can be read once.
    Raises PolicyError with every problem in the file.
    """
    return _policy(read_source(path) if source is None else source, mode, path.parent)


def load_preset(name: str, *, mode: Mode | None = None) -> Policy:
    """Read one of the policies that ship with Sallyport. Raises PolicyError for an unknown name."""
    if name not in PRESETS:
        raise PolicyError(
            [Problem("preset", "", "there is no preset of this name", f"Use {choices(PRESETS)}.")]
        )
    return load_policy(policies_dir() / f"{name}.yaml", mode=mode)


def parse_policy(content: bytes | str, name: str = "policy", *, mode: Mode | None = None) -> Policy:
    """Read a policy from memory. name: how messages call it. Raises PolicyError."""
    encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return _policy(parse_source(encoded, name), mode, None)


def validate[M: BaseModel](model: type[M], source: Source) -> M:
    """Return a file's values as a model, or raise PolicyError with every problem in it."""
    try:
        return model.model_validate_json(json.dumps(source.data))
    except ValidationError as error:
        found = [(_at(detail), detail) for detail in error.errors(include_input=False)]
        found.sort(key=lambda f: source.place(f[0]))
        raise PolicyError(
            _problem(model, source, at, d) for at, d in found if not _follows(d, at, found)
        ) from None


def _policy(source: Source, mode: Mode | None, folder: Path | None) -> Policy:
    if not isinstance(source.data, dict):
        what = "is empty" if source.data is None else "holds no keys"
        todo = "Begin with `version: 1`; every other key has a default."
        raise PolicyError([Problem(source.where(()), "", what, todo)])
    policy = validate(Policy, source)
    if folder is not None:
        policy = policy.located(folder)
        _check_files(policy, source)
        policy = _with_tenants(_with_recognisers(policy), source)
    return policy if mode is None else _with_mode(policy, mode)


def _with_recognisers(policy: Policy) -> Policy:
    """Return a policy that knows what its recogniser files hold. Raises PolicyError for one that cannot be read."""
    named = zip(policy.detection.recognisers, policy.recogniser_files, strict=True)
    try:
        return policy.with_recognisers(
            {name: hashlib.sha256(read_file(path)).hexdigest() for name, path in named}
        )
    except OSError as error:
        what = f"a recogniser file cannot be read ({error.strerror})"
        raise PolicyError([Problem("policy", "detection.recognisers", what, "See who owns it.")]) from None


def _with_tenants(policy: Policy, source: Source) -> Policy:
    """Read the tenants' own files and lay them over the policy. Raises PolicyError with the problems of all."""
    layers: dict[str, Layer] = {}
    problems: list[Problem] = []
    for tenant, name in policy.tenants.files.items():
        if not policy.beside(name).is_file():
            todo = "Paths are relative to the policy file."
            problems.append(Problem(name, "", "there is no such file", todo))
            continue
        try:
            theirs = read_source(policy.beside(name), name)
            layers[tenant], found = layer(policy, tenant, validate(TenantFile, theirs), theirs)
        except PolicyError as error:
            found = list(error.problems)
        problems += found
    problems += _same_names(policy, layers.values(), source)
    if problems:
        raise PolicyError(problems)
    rules = (*policy.limits.rules, *(rule for each in layers.values() for rule in each.limits))
    whole = policy.model_copy(update={"limits": policy.limits.model_copy(update={"rules": rules})})
    return whole.with_tenants(
        {name: whole.laid_over(each.sections, each.access) for name, each in layers.items()}
    )


def _same_names(policy: Policy, layers: Iterable[Layer], source: Source) -> Iterator[Problem]:
    """Yield the rules of tenants that go by the name of another: counters and approvals are kept by name."""
    limits = {rule.id for rule in policy.limits.rules}
    rules = {rule.id for rule in policy.access.rules}
    for each in layers:
        for limit in each.limits:
            if limit.id in limits:
                what = f"a tenant's limit and another one are both called {limit.id}"
                yield Problem(source.where(("limits", "rules")), "limits.rules", what, "Rename one.")
            limits.add(limit.id)
        for rule in each.access.rules if each.access is not None else ():
            if rule.id in rules:
                what = f"a tenant's rule and one of this file are both called {rule.id}"
                yield Problem(source.where(("access", "rules")), "access.rules", what, "Rename one.")


def _check_files(policy: Policy, source: Source) -> None:
    problems = []
    at: At
    for index, path in enumerate(policy.recogniser_files):
        if not path.is_file():
            at = ("detection", "recognisers", index)
            todo = "Paths are relative to the policy file."
            problems.append(Problem(source.where(at), dotted(at), "there is no such file", todo))
    for at, path in policy.identity_files:
        if not path.is_file():
            todo = "Paths are relative to the policy file."
            problems.append(Problem(source.where(at), dotted(at), "there is no such file", todo))
    if policy.ner_folder is not None and not policy.ner_folder.is_dir():
        at = ("detection", "ner", "engine")
        todo = "Paths are relative to the policy file. Models are never fetched: put it there yourself."
        problems.append(Problem(source.where(at), dotted(at), "there is no such folder", todo))
    if problems:
        raise PolicyError(problems)


def _with_mode(policy: Policy, mode: Mode) -> Policy:
    """Return a policy in which everything has one state, its tenants' included. Raises PolicyError for a canary."""
    if mode is Mode.CANARY:
        todo = "Write `mode: canary` with its `canary` into the file."
        raise PolicyError([Problem("--mode", "", "a canary says for which part of the traffic", todo)])
    update: dict[str, object] = {"mode": mode, "canary": None}
    for name in Policy.model_fields:
        section = getattr(policy, name)
        if isinstance(section, ConnectionSection):
            update[name] = section.model_copy(update={"mode": None})
        elif isinstance(section, StageSection):
            update[name] = section.model_copy(update=_NO_STATE)
    update["access"] = _without_modes(policy.access)
    rules = tuple(rule.model_copy(update=_NO_STATE) for rule in policy.limits.rules)
    update["limits"] = policy.limits.model_copy(update={**_NO_STATE, "rules": rules})
    extra = policy.tenant_access
    own = {tenant: _with_mode(theirs, mode) for tenant, theirs in policy.of_tenants.items()}
    copy = policy.model_copy(update=update).with_tenants(own)
    return copy if extra is None else copy.laid_over({}, _without_modes(extra))


def _without_modes(access: Access) -> Access:
    rules = tuple(r.model_copy(update=_NO_STATE) for r in access.rules)
    return access.model_copy(update={**_NO_STATE, "rules": rules})


_NO_STATE: Mapping[str, None] = {"mode": None, "canary": None}


# From pydantic's words to the operator's. {names} are taken from the error's context.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "missing": ("the key is missing", "Add it."),
    "model_type": ("this must hold keys, not a single value or a list", "Indent its keys below it."),
    "mapping_type": ("this must hold keys, not a single value or a list", "Indent its keys below it."),
    "dict_type": ("this must hold keys, not a single value or a list", "Indent its keys below it."),
    "tuple_type": ("this must be a list", "Write [a, b], or one `- item` per line."),
    "string_type": ("this must be a text", "Put it in quotes."),
    "bool_type": ("this must be true or false", "Write `true` or `false`, without quotes."),
    "int_type": ("this must be a whole number", "Write it in digits, without quotes or unit."),
    "float_type": ("this must be a number", "Write it in digits, without quotes or unit."),
    "int_from_float": ("this must be a whole number", "Leave out the fraction."),
    "date_type": ("this must be a date", "Write it as 2026-11-30."),
    "date_from_datetime_parsing": ("this must be a date", "Write it as 2026-11-30."),
    "date_parsing": ("this must be a date", "Write it as 2026-11-30."),
    "date_from_datetime_inexact": ("this must be a date without time", "Write it as 2026-11-30."),
    "ip_any_network": ("this is no address range", "Write it as 10.0.0.0/8, host bits zero."),
    "string_pattern_mismatch": ("this is not spelt as such a name must be", "It must match {pattern}."),
    "string_too_short": ("this is too short", "It needs at least {min_length} characters."),
    "string_too_long": ("this is too long", "At most {max_length} characters are allowed."),
    "too_short": ("this list is too short", "It needs at least {min_length} item(s)."),
    "greater_than": ("the number is too small", "It must be greater than {gt}."),
    "greater_than_equal": ("the number is too small", "It must be at least {ge}."),
    "less_than": ("the number is too large", "It must be less than {lt}."),
    "less_than_equal": ("the number is too large", "It must be at most {le}."),
}


def _at(detail: ErrorDetails) -> At:
    at = tuple(p for p in detail["loc"] if p != "[key]")
    cause = detail.get("ctx", {}).get("error")
    return (*at, *cause.at) if isinstance(cause, Wrong) else at


def _follows(detail: ErrorDetails, at: At, found: list[tuple[At, ErrorDetails]]) -> bool:
    """Say whether a list is too short only because its items are wrong."""
    return detail["type"] == "too_short" and any(o != at and o[: len(at)] == at for o, _ in found)


def _problem(model: type[BaseModel], source: Source, at: At, detail: ErrorDetails) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, Wrong):
        what, todo = cause.what, f"{cause.todo.removesuffix('.')}{'' if cause.todo.endswith('?') else '.'}"
    elif kind == "extra_forbidden":
        what, todo = "the key is not known", _known_keys(model, at)
    elif kind in ("literal_error", "enum"):
        what, todo = "the value is not one of those allowed", f"Use {choices(_words(context['expected']))}."
    else:
        what, todo = _TEXTS.get(kind, ("the value cannot be used", "See docs/policy.md."))
        todo = todo.format_map(context)
    return Problem(source.where(at), dotted(at), what, todo)


def _words(expected: str) -> list[str]:
    """Return the words out of pydantic's "'a', 'b' or 'c'"."""
    return [quoted or bare for quoted, bare in re.findall(r"'([^']*)'|(\d+)", expected)]


def _known_keys(model: type[BaseModel], at: At) -> str:
    known = _keys_at(model, at[:-1])
    near = nearest(str(at[-1]), known)
    return f"Did you mean `{near}`?" if near else f"Keys here are {choices(known)}."


def _keys_at(model: type[BaseModel], at: At) -> list[str]:
    """Return the keys of the model that stands at a path."""
    annotation: Any = model
    for part in at:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            annotation = get_args(annotation)[0 if isinstance(part, int) else 1]
        annotation = _inner(annotation)
    return list(annotation.model_fields)


def _inner(annotation: Any) -> Any:
    """Take off Annotated and Optional."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation
