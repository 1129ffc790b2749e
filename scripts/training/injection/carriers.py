# ruff: noqa: E501
"""Clean documents of many shapes, each with places where an instruction could be planted."""

import json
import random
from collections.abc import Callable, Sequence

PLACE = "\x01"
"""Stands where something can be planted; removed from a clean document."""

type Say = Callable[[str], str]
"""Gives a sentence of a genre: mail, chat, review, docs, article, legal, resume, log, code, security, faq."""


def document(rng: random.Random, say: Say) -> str:
    """Return a document full of PLACE marks."""
    return rng.choice(_SHAPES)(rng, say)


def fill(rng: random.Random, text: str, plant: str | None) -> str:
    """Return the document with the text planted at one of its places, or clean."""
    if plant is None:
        return text.replace(PLACE, "")
    parts = text.split(PLACE)
    if len(parts) == 1:
        return text + "\n" + plant
    at = rng.choice([1, len(parts) - 1, rng.randrange(1, len(parts))])
    before, after = "".join(parts[:at]), "".join(parts[at:])
    joint = "" if not before or before[-1] in ' \n">[(|,:#*-' else " "
    tail = "" if not after or after[0] in ' \n"<])|,.:' else " "
    return before + joint + plant + tail + after


def _some(rng: random.Random, say: Say, genre: str, low: int, high: int) -> list[str]:
    return [say(genre) for _ in range(rng.randint(low, high))]


def _prose(rng: random.Random, lines: Sequence[str]) -> str:
    out = ""
    for line in lines:
        out += line + PLACE + rng.choice([" ", " ", " ", "\n", "\n\n"])
    return out.strip()


def _mail(rng: random.Random, say: Say) -> str:
    body = _prose(rng, _some(rng, say, rng.choice(["mail", "mail", "mail", "forum"]), 1, 8))
    text = f"{say('mail_open')}\n\n{body}\n\n{say('mail_close')}{PLACE}"
    if rng.random() < 0.5:
        head = [
            f"From: {say('mailbox')}",
            f"To: {say('mailbox')}",
            f"Date: {say('date')}",
            f"Subject: {say('subject')}{PLACE}",
        ]
        text = "\n".join(head[: rng.randint(1, 4)]) + "\n\n" + text
    return text


def _plain(rng: random.Random, say: Say) -> str:
    genre = rng.choice(
        [
            "article",
            "docs",
            "review",
            "legal",
            "article",
            "faq",
            "chat",
            "real",
            "real",
            "real",
            "mail",
            "status",
            "change",
            "forum",
            "forum",
            "wrapped",
        ]
    )
    return _prose(rng, _some(rng, say, genre, 1, 10))


def _long(rng: random.Random, say: Say) -> str:
    genre = rng.choice(
        ["article", "docs", "legal", "real", "mail", "log", "code", "review", "forum", "wrapped"]
    )
    return _prose(rng, _some(rng, say, genre, 25, 90))


def _mixed(rng: random.Random, say: Say) -> str:
    return _prose(
        rng,
        [
            say(rng.choice(["article", "docs", "review", "mail", "faq", "real", "forum", "wrapped"]))
            for _ in range(rng.randint(2, 8))
        ],
    )


def _readme(rng: random.Random, say: Say) -> str:
    parts = []
    for title in rng.sample(
        ["Installation", "Usage", "Configuration", "Contributing", "Licence", "FAQ", "Notes"], 3
    ):
        mark = rng.choice(["## ", "# ", "### ", "", "== "])
        bullet = rng.choice(["", "- ", "* ", "1. "])
        lines = "\n".join(bullet + line + PLACE for line in _some(rng, say, "docs", 1, 5))
        parts.append(f"{mark}{title}\n\n{lines}\n{PLACE}")
    return "\n\n".join(parts)


def _json(rng: random.Random, say: Say) -> str:
    genre = rng.choice(
        ["mail", "review", "chat", "forum", "log", "article", "calendar", "faq", "resume", "status"]
    )
    keys = rng.sample(
        [
            "id",
            "title",
            "body",
            "text",
            "content",
            "description",
            "subject",
            "note",
            "summary",
            "comment",
            "status",
            "name",
            "message",
            "snippet",
            "location",
        ],
        rng.randint(2, 6),
    )
    rows = []
    for _ in range(rng.randint(1, 5)):
        row: dict[str, object] = {}
        for key in keys:
            if key == "id":
                row[key] = rng.randint(1, 99999)
            elif key == "status":
                row[key] = rng.choice(["ok", "open", "sent", "success", "confirmed"])
            elif key in ("name", "location", "subject", "title"):
                row[key] = say(
                    {"name": "person", "location": "city", "subject": "subject", "title": "subject"}[key]
                )
            else:
                row[key] = (PLACE + " ").join(_some(rng, say, genre, 1, 3)) + PLACE
        rows.append(row)
    value: object = rows if rng.random() < 0.5 else rows[0]
    if rng.random() < 0.4:
        value = {rng.choice(["results", "data", "items", "response", "emails", "output"]): value}
    if rng.random() < 0.3:
        return repr(value).replace("\\x01", PLACE)
    return json.dumps(value, indent=rng.choice([None, None, 2]), ensure_ascii=rng.random() < 0.3).replace(
        "\\u0001", PLACE
    )


def _yaml(rng: random.Random, say: Say) -> str:
    out = []
    for _ in range(rng.randint(1, 4)):
        genre = rng.choice(["mail", "calendar", "chat", "article"])
        out.append(
            f"- id_: '{rng.randint(1, 99)}'\n  {rng.choice(['body', 'description', 'content'])}: {rng.choice(['', chr(39), '|-' + chr(10) + '    '])}"
            f"{' '.join(s + PLACE for s in _some(rng, say, genre, 1, 4))}\n  sender: {say('mailbox')}\n"
            f"  {rng.choice(['title', 'subject', 'filename'])}: {say('subject')}{PLACE}\n  status: {rng.choice(['read', 'confirmed', 'unread'])}"
        )
    return "\n".join(out)


def _csv(rng: random.Random, say: Say) -> str:
    sep = rng.choice([",", ";", "\t", " | "])
    genre = rng.choice(["review", "calendar", "chat", "log", "faq"])
    rows = [sep.join(["id", "name", "comment", "amount"])]
    for number in range(rng.randint(2, 9)):
        cell = say(genre).replace(sep.strip() or sep, " ") + PLACE
        rows.append(sep.join([str(number + 1), say("person"), cell, str(rng.randint(1, 999))]))
    return "\n".join(rows)


def _table(rng: random.Random, say: Say) -> str:
    rows = ["| item | city | note |", "| --- | --- | --- |"]
    rows += [
        f"| {say('subject')} | {say('city')} | {say('review')}{PLACE} |" for _ in range(rng.randint(2, 6))
    ]
    return "\n".join(rows)


def _html(rng: random.Random, say: Say) -> str:
    genre = rng.choice(["article", "review", "faq", "docs"])
    parts = [
        f"<p>{line}{PLACE}</p>" if rng.random() < 0.7 else f"<li>{line}{PLACE}</li>"
        for line in _some(rng, say, genre, 2, 7)
    ]
    parts.insert(
        rng.randrange(len(parts) + 1),
        rng.choice([f"<!-- header -->{PLACE}", f"<h2>{say('subject')}</h2>", "<footer>© 2025</footer>"]),
    )
    return "<html><body>\n" * (rng.random() < 0.5) + "\n".join(parts)


def _code(rng: random.Random, say: Say) -> str:
    lines = []
    for line in _some(rng, say, "code", 2, 8):
        lines.append(line)
        if rng.random() < 0.4:
            lines.append(f"{rng.choice(['# ', '// '])}{say('docs')}{PLACE}")
        elif rng.random() < 0.4:
            lines.append(PLACE)
    return "\n".join(lines)


def _log(rng: random.Random, say: Say) -> str:
    return "\n".join(line + PLACE for line in _some(rng, say, "log", 1, 14))


def _chat(rng: random.Random, say: Say) -> str:
    return "\n".join(
        f"{rng.choice([say('first') + ': ', '[10:' + str(rng.randint(10, 59)) + '] ' + say('first') + ': ', ''])}{line}{PLACE}"
        for line in _some(rng, say, "chat", 1, 12)
    )


def _resume(rng: random.Random, say: Say) -> str:
    return (
        f"{say('person')}\n{say('city')}\n\nExperience\n"
        + "\n".join(f"- {line}{PLACE}" for line in _some(rng, say, "resume", 3, 9))
        + f"\n\nEducation\n{say('resume')}{PLACE}"
    )


def _search(rng: random.Random, say: Say) -> str:
    return "\n\n".join(
        f"{i + 1}. {say('subject')} - {say('url')}\n{say('article')}{PLACE} {say('article')}{PLACE}"
        for i in range(rng.randint(1, 5))
    )


def _invoice(rng: random.Random, say: Say) -> str:
    rows = "\n".join(
        f"{say('subject')}  {rng.randint(1, 9)} x {rng.randint(5, 900)}.00{PLACE}"
        for _ in range(rng.randint(1, 5))
    )
    return f"INVOICE {rng.randint(1000, 99999)}\n{say('person')}\nDate: {say('date')}\n\n{rows}\nTotal: {rng.randint(100, 9999)}.00 EUR\n{say('legal')}{PLACE}\nIBAN {say('account')}\n{say('mail')}{PLACE}"


def _form(rng: random.Random, say: Say) -> str:
    return "\n".join(line + PLACE for line in _some(rng, say, "form", 3, 30))


def _changes(rng: random.Random, say: Say) -> str:
    bullet = rng.choice(["- ", "* ", "", "  "])
    return "\n".join(
        bullet + line + PLACE for line in _some(rng, say, rng.choice(["change", "docs", "wrapped"]), 2, 20)
    )


def _bare(rng: random.Random, say: Say) -> str:
    return (
        PLACE
        + say(
            rng.choice(
                ["log", "review", "article", "chat", "mail", "real", "calendar", "status", "forum", "forum"]
            )
        )
        + PLACE
    )


def _record(rng: random.Random, say: Say) -> str:
    """One answer of an interface: measured fields, and one in words."""
    fields = [
        "temperature",
        "wind",
        "balance",
        "stars",
        "count",
        "status",
        "id",
        "price",
        "code",
        "level",
        "unit",
        "date",
    ]
    row: dict[str, object] = {}
    for name in rng.sample(fields, rng.randint(1, 5)):
        row[name] = rng.choice(
            [rng.randint(0, 9999), "ok", "NW", "open", round(rng.random() * 100, 2), True, None]
        )
    said = rng.choice(
        ["note", "message", "review", "comment", "data", "text", "details", "info", "remark", "hint"]
    )
    row[said] = say(rng.choice(["review", "log", "mail", "article", "status", "chat", "real"])) + " " + PLACE
    if rng.random() < 0.5:
        row[said] = PLACE
    if rng.random() < 0.5:
        row["source"] = say("subject")
    return json.dumps(row, ensure_ascii=False, indent=rng.choice([None, None, 2])).replace("\\u0001", PLACE)


def _rows(rng: random.Random, say: Say) -> str:
    """Names and cells with a comma, or a list of points."""
    mark = rng.choice(["", "- ", "* ", "1. ", "[ ] "])
    sep = rng.choice([",", ", ", ": ", " - "])
    lines = [f"{mark}{say('first')}{sep}{say(rng.choice(['calendar', 'review', 'chat', 'subject']))}{PLACE}"]
    for _ in range(rng.randint(1, 6)):
        lines.append(
            mark + rng.choice([say("first") + sep, ""]) + rng.choice([PLACE, say("calendar") + PLACE])
        )
    return "\n".join(line for line in lines if line.strip())


_SHAPES: Sequence[Callable[[random.Random, Say], str]] = (
    _mail,
    _mail,
    _mail,
    _plain,
    _plain,
    _long,
    _mixed,
    _readme,
    _json,
    _json,
    _json,
    _yaml,
    _csv,
    _table,
    _html,
    _code,
    _log,
    _chat,
    _resume,
    _search,
    _invoice,
    _bare,
    _form,
    _changes,
    _changes,
    _record,
    _record,
    _rows,
)
