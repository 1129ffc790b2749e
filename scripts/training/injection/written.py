# ruff: noqa: S311
"""The texts that people wrote one by one (written/*.jsonl), and what is made of them for training."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from training.injection.texts import CONTENT, TOOLS, USER, Text

from sallyport.detect.normalise import normalise

FOLDER = Path(__file__).parent / "written"
FOLDS = 3
WEIGHT = 3.0
_CLASSES = {"user": USER, "tool_result": CONTENT, "document": CONTENT, "tool_definition": TOOLS}
_PLACE = re.compile(r"[.!?\n]\s*")
_CARRIER = 3000

PAGES = 3500
"""Clean documents that are joined."""

LENGTHS = (0, 0, 1500, 4000, 8000)
"""Least characters of a document that holds an attack, or none."""

_REST = 150
"""Characters from which what is left of a document without its attack is a document."""

_ASKED = range(16, 300)
"""Characters of an honest prompt that is planted."""

PLAIN = "plain"
"""How the families of orders begin that are suspicious in a document and ordinary in the description of a tool."""

FAMILIES = 0.4
"""Share of the attacks of families that are planted and carried over; they are many and alike."""

_ORDERS = (
    "Summarize the following", "Summarise this text in three sentences", "Translate the text below into German",
    "What is this about?", "Extract all names and dates", "List the action items", "Is any of this suspicious?",
    "Answer the question with the help of the context below", "Proofread this", "Write a polite reply",
    "Turn this into a table", "What do I have to do?", "Explain this to me", "Classify the tone of this message",
    "Find the errors in the following report", "Assess the records below", "Identify the companies in these notes",
    "Shorten it to a tweet", "Review this", "Which of these points are new?", "Give me the key facts",
    "Rewrite the passage for children", "Compare the two parts", "What would you ask the author?",
)  # fmt: skip
_BETWEEN = (
    "\n------\n", ":\n\n", '\n"""\n', "\n```\n", "\n<document>\n", "\nText: ", "\n---\n", "\n\n", "\nContext:\n",
    ".\n==========\n", ": ",
)  # fmt: skip


def written() -> Iterator[Text]:
    """Yield the texts; their group says in which fold they are left out.

    Files are left out whole. Those of languages are translations of each other here and there, so of them
    the same part of every file is left out. "planted" of a row is the part of its text that is the attack.
    """
    for path in sorted(FOLDER.glob("*.jsonl")):
        kind, _, number = path.stem.partition("_")
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for place, row in enumerate(rows):
            fold = int(number) if number.isdigit() else place * 3 * FOLDS // len(rows)
            text = normalise(row["text"]).text
            yield Text(
                text,
                row["label"] == "attack",
                _CLASSES[row["surface"]],
                f"written, {kind}",
                f"written {fold % FOLDS}",
                row["lang"],
                planted=_place(text, row.get("planted")),
                weight=WEIGHT,
                family=row["family"],
            )


def _place(text: str, planted: str | None) -> tuple[int, int] | None:
    """Return where a part stands in a normalised text. Raises ValueError where it does not."""
    if planted is None:
        return None
    part = normalise(planted).text
    start = text.index(part)
    return start, start + len(part)


def augmented(texts: Sequence[Text], seed: int) -> Iterator[Text]:
    """Yield texts made of the ones at hand: attacks planted and carried over, clean texts joined and repeated.

    What a person types against the rules is an attack in a document too; an order in a document is none from
    a person. So attacks go from user to content, never back. So do the honest prompts that fit a line: whoever
    plants "What is the capital of Peru?" in a mail wants it answered.
    """
    rng = random.Random(seed)
    attacks = [
        t
        for t in texts
        if t.attack
        and (t.source.startswith("written") or (t.source.startswith("families") and rng.random() < FAMILIES))
    ]
    honest = [t for t in texts if not t.attack and t.surface == USER and t.source != "generated"]
    clean = [t for t in texts if not t.attack and t.surface == CONTENT and t.source != "generated"]
    clean = [t for t in clean if len(t.text) > 200 or t.source.startswith("written")]
    tools = [t for t in texts if not t.attack and t.surface == TOOLS and t.source != "generated"]
    for text in attacks:
        if text.planted is not None:
            without, text = _apart(text, text.planted)
            if len(without.text) > _REST:
                yield without
        whole = (0, len(text.text))
        if text.surface == USER and rng.random() < 0.7:
            yield replace(text, surface=CONTENT, planted=whole, weight=1.0)
        if text.surface == USER and rng.random() < 0.4:
            carrier = _asked(rng, _page(rng, clean)) if rng.random() < 0.5 else rng.choice(honest)
            yield _planted(rng, text, carrier, USER, 1.0)
        if text.surface == TOOLS:
            for _ in range(2):
                yield _planted(rng, text, rng.choice(tools), TOOLS, 1.5)
            continue
        for _ in range(2 if text.surface == CONTENT else 1):
            yield _planted(rng, text, _page(rng, clean), CONTENT, 1.0)
        if rng.random() < 0.3 and not text.family.startswith(PLAIN):
            yield _planted(rng, text, rng.choice(tools), TOOLS, 1.0)
    for text in honest:
        if text.source.startswith("written") and "\n" not in text.text and len(text.text) in _ASKED:
            asked = replace(text, attack=True, surface=CONTENT, family=PLAIN)
            yield _planted(rng, asked, _page(rng, clean), CONTENT, 0.7)
    for _ in range(PAGES):
        yield replace(_page(rng, clean), weight=1.0)
    for text in rng.choices([t for t in clean if not t.source.startswith("written")], k=1500):
        yield replace(text, text=text.text[:_CARRIER], surface=USER, weight=0.5)
    for text in rng.choices(clean, k=1800):
        yield _asked(rng, text)
    for text in rng.choices(honest, k=1200):
        more = [t.text[:1500] for t in rng.choices(honest, k=rng.randint(1, 4))]
        yield replace(text, text="\n".join([text.text[:1500], *more]), weight=0.7)
    words = sorted({word for t in honest for word in re.findall(r"\w+", t.text)})
    for number in range(900):
        said = " ".join(rng.sample(words, rng.choice([1, 1, 2, 3])))
        again = rng.choice([" ", "\n", ", ", ". "]).join([said] * rng.choice([3, 8, 20, 60]))
        yield replace(
            honest[0], text=again, surface=(USER, CONTENT)[number % 2], source="repeated", weight=0.5
        )


def _apart(text: Text, planted: tuple[int, int]) -> tuple[Text, Text]:
    """Return a document without the attack in it, which is clean then, and the attack by itself."""
    start, end = planted
    rest = text.text[:start].rstrip(" ") + text.text[end:]
    return (
        replace(text, text=rest, attack=False, planted=None, weight=1.0),
        replace(text, text=text.text[start:end], planted=None),
    )


def _page(rng: random.Random, clean: Sequence[Text]) -> Text:
    """Return a clean text, or several of them one below the other."""
    first, least = rng.choice(clean), rng.choice(LENGTHS)
    whole = first.text[:_CARRIER]
    while len(whole) < least:
        whole += rng.choice(["\n", "\n\n", " "]) + rng.choice(clean).text[:2000]
    return replace(first, text=whole)


def _asked(rng: random.Random, page: Text) -> Text:
    """Return a person's prompt about a clean text, which stands before or after what is asked."""
    order, between, body = rng.choice(_ORDERS), rng.choice(_BETWEEN), page.text[:_CARRIER]
    whole = f"{order}{between}{body}" if rng.random() < 0.75 else f"{body}{between}{order}"
    return replace(page, text=whole, surface=USER, weight=0.7)


def _planted(rng: random.Random, text: Text, carrier: Text, surface: str, weight: float) -> Text:
    at = rng.randrange(max(1, len(carrier.text) - LENGTHS[-1]))
    around = carrier.text[at : at + LENGTHS[-1]]
    place = rng.choice([0, len(around), *(m.end() for m in _PLACE.finditer(around))])
    before = around[:place]
    if before and not before[-1].isspace():
        before += rng.choice(" \n")
    whole = before + text.text + rng.choice(" \n") + around[place:]
    return replace(
        text, text=whole, surface=surface, planted=(len(before), len(before) + len(text.text)), weight=weight
    )
