# ruff: noqa: S311
"""Writes the training texts: attacks by surface and language, and at least as many honest texts."""

import random
import re
from collections.abc import Iterator, Sequence

from training.injection import (
    clean_en,
    languages,
    lists_en,
    more_content_en,
    more_user_en,
    planted_en,
    tools_en,
    user_en,
)
from training.injection.carriers import document, fill
from training.injection.grammar import Grammar, numbers
from training.injection.obfuscate import obfuscated
from training.injection.texts import CONTENT, TOOLS, USER, Text

SOURCE = "generated"
GENRES = {
    (name if name in ("field", "owner", "part") else f"g_{name}"): v for name, v in clean_en.LISTS.items()
}
_EXTRA = {
    "subject": [
        "Invoice {code}",
        "Meeting on {date}",
        "Re: {topic}",
        "Trip to {city}",
        "{product}",
        "Order {code}",
        "{topic}",
        "Report {num}",
        "Welcome to {company}",
        "Weekly update",
        "notes.txt",
        "Your booking",
        "{company}",
        "Question",
    ],
}


class Writer:
    """Writes texts from one seed.

    real: sentences people wrote, by language. prompts: (group, prompt). pages, code, tools: real documents,
    sources and tool descriptions in which instructions are planted.
    """

    def __init__(
        self,
        seed: int,
        real: dict[str, Sequence[str]],
        prompts: Sequence[tuple[str, str]],
        pages: Sequence[str] = (),
        code: Sequence[str] = (),
        tools: Sequence[str] = (),
    ) -> None:
        self.pages, self.code, self.tools = pages, code, tools
        self.rng = random.Random(seed)
        self.real = real
        self.prompts = prompts
        self._fresh()

    def _fresh(self) -> None:
        self.english = Grammar(
            lists_en.LISTS,
            planted_en.LISTS,
            user_en.LISTS,
            tools_en.LISTS,
            GENRES,
            _EXTRA,
            numbers(self.rng),
        )
        self.english.lists.update(
            languages.joined(
                {
                    name: self.english.lists.get(name, ())
                    for name in (*more_user_en.LISTS, *more_content_en.LISTS)
                },
                more_user_en.LISTS,
                more_content_en.LISTS,
            )
        )

    def texts(self, content: int, user: int, tools: int, foreign: int) -> Iterator[Text]:
        """Yield so many attacks of each kind (foreign: per language and surface) and as many honest texts."""
        for number in range(content):
            if number % 50 == 0:
                self._fresh()
            yield self._planted("en")
            yield self._clean("en")
        for number in range(user):
            if number % 50 == 0:
                self._fresh()
            yield self._attack()
            yield self._honest()
        for _ in range(tools):
            yield self._tool(True)
            yield self._tool(False)
        for lang in languages.LISTS:
            for number in range(foreign):
                if number % 50 == 0:
                    self._fresh()
                    grammar = Grammar(
                        lists_en.LISTS, languages.COMMON, languages.LISTS[lang], numbers(self.rng)
                    )
                yield self._planted(lang, grammar)
                yield self._clean(lang, grammar)
                yield self._short(grammar, lang, "attack", True)
                yield self._short(grammar, lang, "honest", False)

    def _say(self, lang: str, grammar: Grammar | None):
        rng, english = self.rng, self.english

        def say(genre: str) -> str:
            if genre in ("first", "person", "city", "url", "date", "account", "subject"):
                return english.one(rng, genre)
            if genre == "mailbox":
                return english.expand(rng, "{person} <{mail}>")
            if grammar is not None and genre != "code" and rng.random() < 0.85:
                if lang in self.real and rng.random() < 0.3:
                    return rng.choice(self.real[lang])
                return grammar.one(rng, "clean")
            if genre == "real":
                return rng.choice(self.real["en"])
            return english.one(rng, f"g_{genre}")

        return say

    def _plant(self, lang: str, grammar: Grammar | None) -> tuple[str, str]:
        """Return (group, instruction)."""
        rng = self.rng
        if grammar is not None:
            return SOURCE, grammar.one(rng, "planted" if rng.random() < 0.75 else "attack")
        roll = rng.random()
        if roll < 0.12:
            return SOURCE, self.english.one(rng, "attack")
        frame = (
            self.english.expand(
                rng, rng.choice(planted_en.LISTS["frame"]).replace("{Goal", "\x02").replace("{goal", "\x03")
            )
            if roll < 0.34 and self.prompts
            else ""
        )
        if frame:
            group, prompt = rng.choice(self.prompts)
            prompt = prompt.rstrip(".")
            small = prompt[:1].lower() + prompt[1:]
            frame = frame.replace("\x022}", "\x02}").replace("\x032}", "\x03}")
            return group, frame.replace("\x02}", prompt).replace("\x03}", small)
        return SOURCE, self.english.one(rng, "frame")

    def _planted(self, lang: str, grammar: Grammar | None = None) -> Text:
        group, plant = self._plant(lang, grammar)
        plant = obfuscated(self.rng, plant)
        native = grammar if self.rng.random() < 0.7 else None
        roll = self.rng.random()
        if roll < 0.2 and grammar is None and self.pages:
            text = _within(self.rng, self.rng.choice(self.pages), plant)
        elif roll < 0.26 and grammar is None and self.code:
            text = _within(self.rng, self.rng.choice(self.code), self.rng.choice(["# ", "// ", ""]) + plant)
        elif roll < 0.45:
            say = self._say(lang, native)
            head = say(
                self.rng.choice(["article", "review", "docs", "status", "log", "mail", "subject", "real"])
            )
            text = f"{head}{self.rng.choice([' ', ' ', chr(10)])}{plant}"
            if self.rng.random() < 0.4:
                text += " " + say(self.rng.choice(["article", "review", "mail_close", "log", "chat"]))
        else:
            text = fill(self.rng, document(self.rng, self._say(lang, native)), plant)
        at = text.find(plant)
        return Text(text, True, CONTENT, SOURCE, group, lang, (at, at + len(plant)))

    def _clean(self, lang: str, grammar: Grammar | None = None) -> Text:
        rng = self.rng
        if lang in self.real and rng.random() < 0.25:
            lines = [rng.choice(self.real[lang]) for _ in range(rng.choice([1, 1, 1, 2, 3, 6, 30]))]
            return Text(rng.choice([" ", "\n"]).join(lines), False, CONTENT, SOURCE, SOURCE, lang)
        if rng.random() < 0.25:
            say = self._say(lang, grammar)
            genres = [
                "mail",
                "mail",
                "note",
                "note",
                "forum",
                "faq",
                "docs",
                "calendar",
                "status",
                "review",
                "chat",
                "log",
                "change",
                "legal",
            ]
            lines = [say(rng.choice(genres)) for _ in range(rng.choice([1, 1, 2, 2, 3]))]
            if rng.random() < 0.4:
                lines.insert(0, say(rng.choice(["subject", "mail_open", "article", "city"])))
            return Text(rng.choice([" ", " ", "\n"]).join(lines), False, CONTENT, SOURCE, SOURCE, lang)
        if grammar is None and rng.random() < 0.14:
            lines = [
                self.english.one(rng, rng.choice(["g_security", "g_security", "g_docs", "g_article"]))
                for _ in range(rng.randint(1, 8))
            ]
            text = rng.choice([" ", "\n", "\n\n"]).join(lines)
        else:
            text = fill(rng, document(rng, self._say(lang, grammar)), None)
        return Text(text, False, CONTENT, SOURCE, SOURCE, lang)

    def _attack(self) -> Text:
        rng = self.rng
        plant = obfuscated(rng, self.english.one(rng, "attack"))
        roll = rng.random()
        if roll < 0.55:
            text = plant
        elif roll < 0.7:
            text = " ".join([self.english.one(rng, "honest"), plant])
        elif roll < 0.8:
            text = " ".join([plant, self.english.one(rng, "attack")])
        elif roll < 0.88:
            text = f"{plant} {self.english.one(rng, 'honest')}"
        else:
            text = (
                self.english.one(rng, "honest")
                + "\n\n"
                + fill(rng, document(rng, self._say("en", None)), plant)
            )
        at = text.find(plant)
        return Text(text, True, USER, SOURCE, SOURCE, "en", (at, at + len(plant)))

    def _honest(self) -> Text:
        rng = self.rng
        roll = rng.random()
        if roll < 0.07 and self.code:
            text = f"{self.english.one(rng, 'honest')}\n\n{rng.choice(self.code)}"
        elif roll < 0.1 and self.pages:
            text = f"{self.english.one(rng, 'honest')}\n\n{rng.choice(self.pages)}"
        elif roll < 0.72:
            text = self.english.one(rng, "honest")
        elif roll < 0.82:
            text = " ".join(self.english.one(rng, "honest") for _ in range(rng.randint(2, 4)))
        elif roll < 0.9:
            text = (
                self.english.one(rng, "honest")
                + "\n\n"
                + fill(rng, document(rng, self._say("en", None)), None)
            )
        elif roll < 0.95:
            text = self.english.one(rng, "g_security") + " " + self.english.one(rng, "honest")
        else:
            text = fill(rng, document(rng, self._say("en", None)), None)
        return Text(text, False, USER, SOURCE, SOURCE, "en")

    def _tool(self, poisoned: bool) -> Text:
        rng = self.rng
        lines = [self.english.one(rng, "honest_tool") for _ in range(rng.randint(1, 6))]
        if self.tools and rng.random() < 0.5:
            lines = [rng.choice(self.tools)]
            if poisoned:
                plant = self.english.one(rng, "poison")
                text = _within(rng, lines[0], plant)
                at = text.find(plant)
                return Text(text, True, TOOLS, SOURCE, SOURCE, "en", (at, at + len(plant)))
        if not poisoned:
            return Text(rng.choice([" ", "\n"]).join(lines), False, TOOLS, SOURCE, SOURCE, "en")
        plant = self.english.one(rng, "poison")
        lines.insert(rng.randint(1, len(lines)), plant)
        text = rng.choice([" ", "\n", "\n\n"]).join(lines)
        at = text.find(plant)
        return Text(text, True, TOOLS, SOURCE, SOURCE, "en", (at, at + len(plant)))

    def _short(self, grammar: Grammar, lang: str, name: str, attack: bool) -> Text:
        rng = self.rng
        plant = text = obfuscated(rng, grammar.one(rng, name), 0.05) if attack else grammar.one(rng, name)
        roll = rng.random()
        if roll < 0.25:
            text = f"{grammar.one(rng, 'honest')} {plant}"
        elif roll < 0.35:
            text = f"{grammar.one(rng, 'clean')} {plant}"
        at = text.find(plant)
        return Text(text, attack, USER, SOURCE, SOURCE, lang, (at, at + len(plant)) if attack else None)


def _within(rng: random.Random, text: str, plant: str) -> str:
    """Put a sentence between two sentences or lines of a text, or at its end."""
    places = [m.end() for m in re.finditer(r"[.!?:](?=[ \n])|\n|(?<=[.!?])(?=\")", text)]
    at = rng.choice([*places, len(text)])
    glue = rng.choice([" ", " ", "\n"])
    return f"{text[:at]}{glue}{plant}{glue}{text[at:].lstrip(' ')}"
