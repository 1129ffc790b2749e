# ruff: noqa: S311
"""Puts the training texts together: the shared sources, and what is generated around them."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from training.injection import machine
from training.injection.families import families
from training.injection.generate import Writer
from training.injection.texts import CONTENT, TOOLS, USER, Text, carriers, shared
from training.injection.written import written

from sallyport.detect.normalise import normalise

LEFT_OUT = ("uner_en_ewt",)
"""Share-alike, so never trained on; measures false alarms on mails, reviews and blogs."""

WEIGHTS = {
    "deepset_prompt_injections": 0.6,
    "hh_rlhf_redteam_questions": 0.5,
    "promptinject": 0.6,
    "prose": 0.7,
}


MADE = 0.4
"""Share of a generated text in the loss."""

PROSE = {
    "broad_twitter_corpus": 0.55,
    "wikigold": 0.3,
    "europeana_de_lft": 0.04,
    "europeana_fr_bnf": 0.06,
    "europeana_nl_kb": 0.05,
}
"""Shares of the sources of clean pages without any order: as documents go, code and manuals are the exception."""

PAGES_OF_PROSE, LINES = 3000, (1, 2, 3, 5, 8, 14, 25)
"""How many such pages there are, and how many lines one has."""

MOST_PAGES = 3000
"""Descriptions of the standard library that count as documents; the others do as tools."""

_PLAIN_ROLE = re.compile(
    r"\b(?:act as|acts as|fungier\w*|agier\w*|i want you to act|pretend (?:to be|you are))\b", re.I
)
_OVERRIDE = re.compile(
    r"ignor|forget|disregard|vergiss|vergess|above|previous|jailbreak|\bDAN\b|unethical|evil|filter|restrict|hate|rule|instruction",
    re.I,
)
_ROLE_PLAY_IS_HONEST = ("deepset_prompt_injections", "llm_guard_tests")
"""Sources that call ordinary role play an attack."""


def texts(folder: Path, seed: int, scale: float = 1.0) -> list[Text]:
    """Return all training texts, those of all groups.

    folder: holds injection/ and pii/. scale: how many texts are generated, 1.0 for the shipped weights.
    """
    rng = random.Random(seed)
    rows = list(honestly(shared(folder / "injection")))
    real: dict[str, list[str]] = {}
    lines: dict[str, list[tuple[str, str]]] = {}
    for source, lang, text in carriers(folder / "pii"):
        if source in LEFT_OUT or source == "presidio_recognizer_tests" or len(text) < 20:
            continue
        real.setdefault(lang, []).append(text)
        lines.setdefault(source, []).append((lang, text))
    found = list(installed(rng))
    docs = [t.text for t in found if t.surface == CONTENT and t.source != "python_code"]
    code = [t.text for t in found if t.source == "python_code"]
    tools = [t.text for t in found if t.surface == TOOLS]
    made = Writer(seed, real, prompts(rows), docs, code, tools).texts(
        int(12000 * scale), int(10000 * scale), int(3000 * scale), int(700 * scale)
    )
    return [
        *map(_weighted, rows),
        *found,
        *written(),
        *families(seed),
        *prose(lines, random.Random(seed)),
        *(replace(_normal(t), weight=MADE) for t in made),
    ]


def prose(lines: Mapping[str, Sequence[tuple[str, str]]], rng: random.Random) -> Iterator[Text]:
    """Yield clean pages of what people write to each other and of articles; lines: (language, text) by source.

    The lines of a page are those that stood one after the other: what a window shares with the rest of its text tells
    only where texts are whole.
    """
    for source in rng.choices(list(PROSE), list(PROSE.values()), k=PAGES_OF_PROSE):
        every, count = lines[source], rng.choice(LINES)
        first = rng.randrange(len(every))
        page = every[first : first + count]
        text = normalise(rng.choice([" ", " ", "\n", "\n\n"]).join(line for _, line in page)).text
        yield Text(text, False, CONTENT, "prose", "prose", page[0][0], weight=WEIGHTS["prose"])


def installed(rng: random.Random) -> Iterator[Text]:
    """Yield the clean texts that come with Python."""
    pages = list(machine.documents())
    for page in rng.sample(pages, min(MOST_PAGES, len(pages))):
        yield _clean(page, CONTENT, "python_docs", "python")
    for piece in machine.code(rng):
        yield _clean(piece, CONTENT, "python_code", "python")
    for piece in machine.readmes(rng):
        yield _clean(piece, CONTENT, "package_readmes", "package_readmes")
    functions = list(machine.tools(rng))
    for text in rng.sample(functions, min(2500, len(functions))):
        yield _clean(text, TOOLS, "python_functions", "python")


def _clean(text: str, surface: str, source: str, group: str) -> Text:
    return Text(normalise(text).text, False, surface, source, group, "en")


def honestly(rows: Iterator[Text]) -> Iterator[Text]:
    """Yield the shared texts without role play that is labelled an attack and overrides nothing."""
    for row in rows:
        plain = _PLAIN_ROLE.search(row.text) and not _OVERRIDE.search(row.text)
        if not (row.attack and row.source in _ROLE_PLAY_IS_HONEST and plain):
            yield row


def prompts(rows: Sequence[Text]) -> list[tuple[str, str]]:
    """Return the short honest orders among the shared texts: planted in a document they are attacks."""
    return [
        (t.group, t.text.strip())
        for t in rows
        if not t.attack
        and t.surface == USER
        and t.lang == "en"
        and 15 < len(t.text) < 220
        and "\n" not in t.text.strip()
        and t.text.split(" ")[0].lower().strip(",.") in _ORDERS
    ]


def _weighted(text: Text) -> Text:
    return replace(text, weight=WEIGHTS.get(text.source, 1.0))


def _normal(text: Text) -> Text:
    """Return the text as the detector sees it, with the planted part found again."""
    view = normalise(text.text).text
    planted = None
    if text.planted is not None:
        head = normalise(text.text[: text.planted[0]]).text
        part = normalise(text.text[slice(*text.planted)]).text
        planted = (len(head), len(head) + len(part))
    return replace(text, text=view, planted=planted)


_ORDERS = frozenset(
    [
        "write",
        "create",
        "make",
        "find",
        "show",
        "give",
        "list",
        "tell",
        "explain",
        "describe",
        "summarize",
        "summarise",
        "translate",
        "provide",
        "compare",
        "open",
        "draft",
        "add",
        "change",
        "set",
        "update",
        "delete",
        "remove",
        "post",
        "send",
        "buy",
        "order",
        "search",
        "get",
        "generate",
        "design",
        "develop",
        "analyze",
        "analyse",
        "identify",
        "evaluate",
        "plan",
        "prepare",
        "recommend",
        "suggest",
        "convert",
        "calculate",
        "compose",
        "implement",
        "assess",
        "optimize",
        "conduct",
        "research",
        "formulate",
        "edit",
        "cancel",
        "like",
        "subscribe",
        "reply",
        "fork",
        "star",
        "star",
        "approve",
        "assign",
        "invite",
        "follow",
        "go",
        "notify",
        "modify",
        "rate",
        "reduce",
        "check",
        "mark",
        "submit",
        "promote",
        "fill",
        "act",
        "imagine",
        "pretend",
        "solve",
        "rewrite",
        "discuss",
        "outline",
        "build",
        "help",
        "please",
        "can",
        "could",
        "i",
        "would",
        "you",
        "let's",
    ]
)
