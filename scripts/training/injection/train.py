# ruff: noqa: E501
"""Puts the training texts together: the shared sources, and what is generated around them."""

from collections.abc import Collection, Sequence
from pathlib import Path

from training.injection.generate import Writer
from training.injection.texts import USER, Text, carriers, shared

from sallyport.detect.normalise import normalise

LEFT_OUT = ("uner_en_ewt",)
"""Share-alike, so never trained on; measures false alarms on mails, reviews and blogs."""

WEIGHTS = {"deepset_prompt_injections": 0.6, "hh_rlhf_redteam_questions": 0.5, "promptinject": 0.6}


def texts(folder: Path, seed: int, without: Collection[str] = (), scale: float = 1.0) -> list[Text]:
    """Return all training texts but those of some groups of sources.

    folder: holds injection/ and pii/. scale: how many texts are generated, 1.0 for the shipped weights.
    """
    rows = [t for t in shared(folder / "injection") if t.group not in without]
    real: dict[str, list[str]] = {}
    for source, lang, text in carriers(folder / "pii"):
        if source in LEFT_OUT or source == "presidio_recognizer_tests" or len(text) < 20:
            continue
        real.setdefault(lang, []).append(text)
    made = Writer(seed, real, prompts(rows)).texts(
        int(12000 * scale), int(9000 * scale), int(1500 * scale), int(700 * scale)
    )
    out = [_weighted(t) for t in rows]
    for text in made:
        if text.group in without:
            continue
        out.append(_normal(text))
    return out


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
    weight = WEIGHTS.get(text.source, 1.0)
    return Text(
        text.text, text.attack, text.surface, text.source, text.group, text.lang, text.planted, weight
    )


def _normal(text: Text) -> Text:
    """Return the text as the detector sees it, with the planted part found again."""
    view = normalise(text.text).text
    planted = None
    if text.planted is not None:
        head = normalise(text.text[: text.planted[0]]).text
        part = normalise(text.text[slice(*text.planted)]).text
        planted = (len(head), len(head) + len(part))
    return Text(view, text.attack, text.surface, text.source, text.group, text.lang, planted, text.weight)


_ORDERS = frozenset(
    ["write", "create", "make", "find", "show", "give", "list", "tell", "explain", "describe", "summarize", "summarise", "translate", "provide", "compare", "open", "draft", "add", "change", "set", "update", "delete", "remove", "post", "send", "buy", "order", "search", "get", "generate", "design", "develop", "analyze", "analyse", "identify", "evaluate", "plan", "prepare", "recommend", "suggest", "convert", "calculate", "compose", "implement", "assess", "optimize", "conduct", "research", "formulate", "edit", "cancel", "like", "subscribe", "reply", "fork", "star", "star", "approve", "assign", "invite", "follow", "go", "notify", "modify", "rate", "reduce", "check", "mark", "submit", "promote", "fill", "act", "imagine", "pretend", "solve", "rewrite", "discuss", "outline", "build", "help", "please", "can", "could", "i", "would", "you", "let's"]
)
