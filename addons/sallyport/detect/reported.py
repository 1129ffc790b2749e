"""Orders that a text only reports: in quotation marks, in a sentence about attacks or finds that goes on after them.

It decides nothing alone: whoever plants an order can write such a sentence around it, so the classifier is asked too.
"""

import re

from sallyport.detect import linear

REACH = 160
"""Characters either side of what was found in which its sentence is read."""

_MARKS = '"“”„«»`「」『』'
_OTHER = rf"[^{_MARKS}\n]"
_SPOKEN_OF = (
    r"(?:attack(?:s|ed|ers?|ing)?|adversar(?:y|ies|ial)|hackers?|injections?|injected|payloads?|exploits?|malicious|"
    r"poison(?:ed|ing)|smuggled?|planted|plants?|hid(?:es?|den|ing)?|invisible|white|phish(?:ing|ers?)?|"
    r"scam(?:mers?|s)?|jail ?breaks?|red[ -]team(?:s|ers?)?|angreifer\w{0,2}|angriffe?n?|versteckt\w{0,2}|"
    r"unsichtbar\w{0,2}|einschleus\w{2,4}|attaquants?|attaques?|cach[eé]{1,2}s?|malveillant\w{0,2}|atacantes?|"
    r"ocult[oa]s?|invisibles?|attaccant[ei]|attacc(?:o|hi)|nascost[oaie]|aanvall?(?:en|ers?)?|verborgen|"
    r"злоумышленник\p{L}{0,3}|атак\p{L}{0,4}|скрыт\p{L}{0,4}|инъекци\p{L}{0,3})"
)
_MAY_SAY = (
    r"(?:(?:may|might|could|would) (?:\w{1,10} )?(?:say|read|contain|hold|carry|include)|such as|e\.g\.|"
    r"for (?:example|instance)|(?:found|saw|seen|contain(?:s|ed)|had|held|hid|with|was|inserted|added|wrote|smuggled) "
    r"(?:the|a|an|this) (?:\w{2,12} )?(?:sentence|phrase|words|wording|line|order))"
)
_SPOKEN_OF_EAST = "(?:攻击|攻擊|注入|隐藏|隱藏|攻撃|インジェクション|隠し|공격|인젝션|숨긴|숨겨진)"
_SINGLE = rf"[^'‘’{_MARKS}\n]"
_BEFORE = linear.pattern(
    rf"(?:^|[^\p{{L}}\d])(?:{_SPOKEN_OF}[\s,(-]{{1,3}}{_OTHER}{{0,80}}[\p{{L}}\d]|{_MAY_SAY}(?:\s{_OTHER}{{0,60}}\w)?)"
    rf"\)?[,:]?\s{{1,2}}\(?(?:[\"“„«`]\s?{_OTHER}{{0,60}}|['‘](?:{_SINGLE}|\w['’]\w){{0,60}})$"
    rf"|{_SPOKEN_OF_EAST}{_OTHER}{{0,60}}[「『“\"]{_OTHER}{{0,60}}$",
    case_sensitive=False,
)
_AFTER = linear.pattern(
    rf"^(?:{_OTHER}{{0,120}}[\"”“»`」』]|(?:{_SINGLE}|\w['’]\w){{0,120}}['’])"
    r"(?:[.,;:!?)]{0,2}(?:\s{1,2}\(?[\p{L}\d]|\\n\W{0,2}\w)|[，。、）]?[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])"
)
_CELL = linear.pattern(rf"^\|[^|{_MARKS}]{{1,40}}\|\s?[\"“`]{_OTHER}{{0,60}}$")
_SHARE = linear.pattern(rf"^{_OTHER}{{0,120}}[\"”`]\s?\|\s?\d{{1,3}}(?:[.,]\d{{1,2}})? ?%\s?\|")
"""A cell of a table of samples, and behind it the share in which they worked."""

_MEANT = linear.pattern(
    r"\b(?:obey|execute|follow|comply|carry (?:it|this|that) out|act (?:on|upon)|do (?:so|it|this|that|as|what)|"
    r"proceed|perform|must be (?:done|run|executed|followed|obeyed))\b",
    case_sensitive=False,
)
"""Words by which a sentence makes a quoted order its own."""

_ADOPTED = linear.pattern(
    r"(?:^|[.!?;:,\n]\s{0,3}|\b(?:please|now|then|must|shall|should|to|and|so) )"
    r"(?:(?:obey|execute|follow|comply with|carry out|act (?:on|upon)|perform|do|honou?r) "
    r"(?:it|this|that|them|what|the (?:\w{1,12} ){0,2}(?:lines?|orders?|words?|sentences?|phrases?|instructions?|text|"
    r"quotation|commands?))\b|carry (?:it|this|that|them) out\b)"
    r"|\b(?:is|are|holds?|valid|binding|meant|appl(?:y|ies)) (?:for|to|on) (?:you\b|this page\b|the reader\b)"
    r"|\bno (?:trick|joke|attack|example)\b",
    case_sensitive=False,
)
"""Sentences by which a text makes its own what it quotes elsewhere."""

_QUOTED = re.compile(rf"[{_MARKS}]{_OTHER}{{0,200}}[{_MARKS}]")

NEAR = 1_000
"""Characters either side of what was found in which no sentence may make it its own, in whatever line it stands."""


def is_reported(text: str, start: int, end: int) -> bool:
    """Say whether text[start:end] is quoted, all of it by one pair of marks, by a sentence that reports it."""
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    if start == end or any(mark in text[start:end] for mark in _MARKS + "\n"):
        return False
    before = text[max(0, start - REACH) : start].rpartition("\n")[2]
    after = text[end : end + REACH].partition("\n")[0]
    if (
        _ADOPTED.search(_QUOTED.sub(" ", text[max(0, start - NEAR) : start] + text[end : end + NEAR]))
        is not None
    ):
        return False
    if _CELL.search(before) is not None and _SHARE.search(after) is not None:
        return True
    spoken_of = _BEFORE.search(before) is not None and _AFTER.search(after) is not None
    return spoken_of and _MEANT.search(after) is None
