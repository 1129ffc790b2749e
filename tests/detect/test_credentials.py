"""Tokens near words such as password: which are judged, what the shipped weights say of them, and what they are worth."""

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.decision import Kind
from sallyport.detect import credentials
from sallyport.detect.credentials import BUCKETS, odds, read, shipped, tokens, write
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.published import is_published
from sallyport.errors import OperatorError
from sallyport.exchange import Segment, Surface

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "credentials_recorded.json").read_text("utf-8"))
UNSEEN = [json.loads(line) for line in (HERE / "credentials_texts.jsonl").read_text("utf-8").splitlines()]
RULE = "secrets.judged.credential"
FLOOR, CEILING = 0.8, 5
"""Of the texts that nobody read who wrote rules or trained: credentials covered, at least, and honest texts flagged, at
most; a little worse than what was measured (docs/models/credentials.md).
"""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(frozenset({Kind.SECRET}), deadline_s=60.0, cpu_s=60.0))


def judged(text: str) -> list[str]:
    return [text[start:end] for start, end in tokens(text, 0, len(text))]


def found(detector: Detector, text: str, surface: Surface = Surface.USER) -> list[str]:
    return [text[f.start : f.end] for f in detector.scan([Segment("/text", surface, text)]) if f.rule == RULE]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("the password, please: Otter-77!", ["Otter-77!"]),
        ("open it with Mallard-Tues-5.", ["Mallard-Tues-5"]),
        ('PGPASSWORD="otterHolt.3" psql', ["otterHolt.3"]),
        ("DB_PASSWORD=b1rch user:m0ss", ["b1rch", "m0ss"]),
        (
            "try wet.Slate.Roofs, plumb-tiger-eleven or Pen-Duick",
            ["wet.Slate.Roofs", "plumb-tiger-eleven", "Pen-Duick"],
        ),
        ("it was sorryNotSorry_Bex, press *7391# or 5-1-3-9", ["sorryNotSorry_Bex", "*7391#", "5-1-3-9"]),
        ("MAX_RETRY_COUNT user_pass_hash x.y.Z 12:30 1-2 2026-11-22", []),
        ("some_name OtherName a.b.c path/to/it well-known 12345 1984", []),
        ("ada7@example.com 10.0.3.9 0x1F 9f86d081884c7d659a2feaa0c55ad015 2026-11-22", []),
        ("550e8400-e29b-41d4-a716-446655440000 x9", []),
        ("a" * 60 + "1", []),
        ("sk-*******dd73 ghp_••••922e sk-...7a1B Su*****9! glpat-xxxxxxxx9aQ2", []),
        (
            "sha512-Q3v1kTn0u7b[...]c9dX2pLk8g== generate-with-openssl-rand-hex-32 BSD-3-Clause GPL-2.0-or-later",
            [],
        ),
        ("^7.1.2 ~9.0.2 this.#actualTree5 #IdleActionSec=30min Gtk3->init; @cluster0.db.net/?retry=true", []),
        ("?page=2&password=Otter-77!&sort=price", ["Otter-77!"]),
        ("#DB_PASSWORD=b1rch Otter-77->Heron-88", ["b1rch", "Otter-77-", "Heron-88"]),
    ],
)
def test_words_names_numbers_and_what_is_known_otherwise_are_not_judged(text: str, kept: list[str]) -> None:
    assert judged(text) == kept


def test_a_token_is_judged_near_a_telling_word_only(detector: Detector) -> None:
    told = "The payroll file is protected. Open it with Mallard-Tues-5 and save a copy."
    assert found(detector, told) == ["Mallard-Tues-5"]
    assert found(detector, "Mallard-Tues-5 flew by.") == []
    apart = "It is protected. " + "We had rain and then more rain. " * 12 + "Mallard-Tues-5 was there."
    assert found(detector, apart) == []


def test_a_token_is_judged_once_however_many_words_stand_near_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    whole = credentials.parted

    def parted(text: str, start: int, end: int) -> tuple[str, str, str]:
        seen.append(text[start:end])
        return whole(text, start, end)

    monkeypatch.setattr(credentials, "parted", parted)
    text = "".join(f"user key admin login a{number}-b! " for number in range(100, 400))
    judge = credentials.Judge(text)
    for match in re.finditer("user|key|admin|login", text):
        list(judge.near(*match.span()))
    assert seen == [f"a{number}-b!" for number in range(100, 400)]


def test_many_credentials_are_not_counted_more_than_once(detector: Detector) -> None:
    names = ["".join(letters) for letters in itertools.product("bdfglm", "aeiou", "nrst", "aeiou", "klm")]
    text = "".join(f"It is protected, log in and open it with Otter-{name.title()}-5.\n" for name in names)
    findings = detector.scan([Segment("/text", Surface.USER, text)])
    assert len(names) / 2 < len(findings) == len({(f.start, f.end) for f in findings}) <= len(names)


def test_a_series_is_judged_at_its_beginning_only(detector: Detector) -> None:
    text = "".join(f"It is protected, open it with Mallard-Tues-{n} and save it.\n" for n in range(100, 400))
    assert 1 <= len(found(detector, text)) <= 16


@pytest.mark.parametrize("words", range(10, 25))
def test_a_token_is_never_cut_where_the_window_ends(words: int) -> None:
    text = "key " + "word " * words + "SPRING_DATASOURCE_HIKARI_NAME=Otter-Harbour!93-Quay-Heron7 end"
    found = [text[s:e] for s, e in tokens(text, *credentials.around(text, 0, 3))]
    assert found in ([], ["Otter-Harbour!93-Quay-Heron7"])


@given(st.text(st.sampled_from("aB19-_.:=!"), min_size=1, max_size=40))
def test_digits_are_alike_to_what_a_token_is_worth_itself(token: str) -> None:
    zeros = token.replace("1", "0").replace("9", "0")
    assert credentials.own_features(token) == credentials.own_features(zeros)


def test_what_an_answer_shows_as_it_is_typed_is_not_judged(detector: Detector) -> None:
    told = "The payroll file is protected. Open it with Mallard-Tues-5 and save a copy."
    assert found(detector, told, Surface.ASSISTANT) == []


def test_the_shipped_weights_are_those_that_were_measured() -> None:
    assert RECORDED["revision"] == shipped().revision
    assert len(RECORDED["rows"]) > 5
    for row in RECORDED["rows"]:
        assert odds(row["text"], row["start"], row["end"]) == pytest.approx(row["odds"], abs=1e-3)


def test_what_a_manual_prints_is_no_credential(detector: Detector) -> None:
    assert is_published("JBSWY3DPEHPK3PXP")
    assert is_published("QWxhZGRpbjpvcGVuIHNlc2FtZQ")
    assert not is_published("jbswy3dpehpk3pxp")
    for value, count in (("2YotnFZFEjr1zCsicMWpAA", 0), ("2YotnFZFEjr1zCsicMWpAB", 1)):
        assert len(detector.scan([Segment("/text", Surface.USER, f"access_token={value}")])) == count


def test_both_sides_of_a_token_count() -> None:
    said = ("Open it with {}", "We meet in room {}")
    values = ("Mallard-Tues-5", "B-204")
    told = {(s, v): odds(s.format(v), s.index("{"), s.index("{") + len(v)) for s in said for v in values}
    assert told[said[0], values[0]] > told[said[1], values[0]]
    assert told[said[0], values[0]] > told[said[0], values[1]]


def test_texts_that_nobody_has_seen(detector: Detector) -> None:
    covered = values = flagged = honest = 0
    for row in UNSEEN:
        text, taken = row["text"], set[int]()
        for finding in detector.scan([Segment("/text", Surface.USER, text)]):
            taken.update(range(finding.start, finding.end))
        for value in row["values"]:
            start = text.index(value)
            values += 1
            covered += taken >= {*range(start, start + len(value))}
        honest += not row["values"]
        flagged += not row["values"] and bool(taken)
    assert (values, honest) == (65, 38)
    assert covered / values >= FLOOR
    assert flagged <= CEILING


def test_no_text_is_kept() -> None:
    cached = [name for name, value in vars(credentials).items() if hasattr(value, "cache_info")]
    assert cached == ["shipped"]


@given(
    st.text(st.sampled_from("aB1 -_.:=\"'!#\n\tпя密😀"), max_size=120),
    st.integers(0, 120),
    st.integers(0, 120),
)
def test_any_text_is_parted_without_errors(text: str, low: int, high: int) -> None:
    last = -1
    for start, end in tokens(text, min(low, len(text)), high):
        assert last <= start < end <= len(text)
        assert not any(c.isspace() for c in text[start:end])
        odds(text, start, end)
        last = end


def test_weights_that_are_damaged_are_told(tmp_path: Path) -> None:
    path = tmp_path / "credentials.weights"
    write(path, [0] * BUCKETS, bias=1, threshold=2, around=3, step=0.5)
    assert read(path).threshold == 2
    whole = path.read_bytes()
    for damaged in (b"", b"{}\n", whole[:-1], b"[1]\n" + whole, whole.replace(b'"bias":1,', b"")):
        path.write_bytes(damaged)
        with pytest.raises(OperatorError):
            read(path)
    path.unlink()
    with pytest.raises(OperatorError):
        read(path)


@pytest.mark.parametrize(
    ("before", "token", "after"),
    [
        ("int CMS_set0_password(", "CMS_Frob2Info", " *ri, unsigned char *pass);"),
        ("#define aes40_set_key ", "frob_aes40_set_key", "\n"),
        ("if (key->", "pkcs11Slot", ") {"),
        ("must be entered as ", "Shift-Control-6", "."),
        ("gpasswd.1\n   ", "man/pt_BR/man1/*", "\n"),
        ('<div class="g-recaptcha" data-sitekey="', "6LdTk9wUAAAAABz7Hc2LmQp4Vx8RnYtGsJkWdEoU", '">'),
        ('data-testid="password-input" data-cy="', "token-row-5372", '"'),
        ("[Peer]\nPublicKey = Zk3x/", "Vz8Qw2+NmRt6Yb", "/Ls9HcJd5Gf="),
        ("db_password: ENC[AES256_GCM,data:", "rR14BeH7kCZwM", ",iv:GdvH,tag:IBi0,type:str]"),
        ("spring.datasource.password=ENC(", "zI1G53gxXZf63gO4", ")"),
        ("/* secret keys */ ", "&nettle_arcfour128", ","),
        ("key schedule: ", "xchacha20-poly1305", ", "),
        ("reCAPTCHA site key ", "6LdTk9wUAAAAABz7Hc2LmQp4Vx8RnYtGsJkWdEoU", " in the page"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 2\n\nmQENBF+a\n", "Lf7PwD93lyJ15r2Q", "\n-----END"),
        ("-----BEGIN CERTIFICATE-----\r\n  MIIDzTCC\r\n  ", "Lf7PwD93lyJ15r2Q", "\r\n  -----END"),
        ("-----BEGIN PGP SIGNATURE-----\n\niQEzBAAB\n", "Lf7PwD93lyJ15r2Q", "\n=a1b2\n-----END"),
    ],
)
def test_what_the_syntax_of_code_says_is_no_credential(before: str, token: str, after: str) -> None:
    text = before + token + after
    assert credentials.is_known(text, len(before), len(before) + len(token))


@pytest.mark.parametrize(
    ("before", "token", "after"),
    [
        ("PrivateKey = ", "Vz8Qw2+NmRt6Yb", "\n"),
        ("#define WIFI_KEY ", "Blue_jay42", "\n"),
        ("open it with ", "Blue_jay42", " * and go in"),
        ("the login is admin->", "Blue_jay42", "!"),
        ("key: ", "nettle_Blue42", ","),
        ("key: ", "aes-Blue42-gcm", ""),
        ("-----BEGIN PUBLIC KEY-----\nMIGf\n-----END PUBLIC KEY-----\npassword ", "Blue_jay42", ""),
        ("-----BEGIN CERTIFICATE-----\nMIGf\n-----END CERTIFICATE-----\npassword\n", "Bluejay42", ""),
        ("-----BEGIN CERTIFICATE-----\nMIGf\nthe password is ", "Bluejay42", ""),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF+a\n", "Lf7PwD93lyJ15r2Q", "\n"),
        ("reCAPTCHA secret key ", "6LdTk9wUAAAAABz7Hc2LmQp4Vx8RnYtGsJkWdEoU", ""),
        ("the site key is ", "Bluejay42", ""),
    ],
)
def test_what_may_be_a_credential_stays_one(before: str, token: str, after: str) -> None:
    text = before + token + after
    assert not credentials.is_known(text, len(before), len(before) + len(token))
