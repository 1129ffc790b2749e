"""Values in tables, statements and pairs: what they are called stands in a head, a list of columns or a key."""

import pytest

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.labels import Labels, behind
from sallyport.exchange import Segment, Surface

PSQL = (
    "  id  |  name  |   steuer_id   | date_of_birth\n"
    "------+--------+---------------+---------------\n"
    " 4410 | Anneke | 87396051924   | 1986-05-03\n(1 row)\n"
)
INSERT = (
    "INSERT INTO crew (id, dob, due) VALUES (7, '1986-05-03', '2026-01-02'), (8, '1990-11-12', '2026-01-03');"
)
COPY = "COPY public.crew (id, dob) FROM stdin;\n4418\t1973-08-30\n\\.\n"
SPACED = "NAME     DOB         DUE\nAnneke   1986-05-03  2026-01-02\n"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.PII}), cache_entries=0))


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        (PSQL, "1986-05-03", "date of birth"),
        (INSERT, "1986-05-03", "dob"),
        (INSERT, "1990-11-12", "dob"),
        (INSERT, "2026-01-03", "due"),
        (COPY, "1973-08-30", "dob"),
        (SPACED, "1986-05-03", "dob"),
        ("Crew of May\n" + SPACED, "1986-05-03", "dob"),
        ("NO    NAME      DOB         DUE\n4410  Anneke    1986-05-03\n", "1986-05-03", "dob"),
        ("│ id │ dob │ n │\n├────┼─────┼───┤\n│ 7 │ 1986-05-03 │ 2 │\n", "1986-05-03", "dob"),
        ("| Field | Value |\n|---|---|\n| dob | 1986-05-03 |\n", "1986-05-03", "value dob"),
        ('<input name="dob" type="text" value="1986-05-03">', "1986-05-03", "dob"),
        ('{"document":"Norwegian CPR","documentNo":"241274-1998"}', "241274-1998", "norwegian cpr"),
        ('{"idType":"CPR","idNumber":"241274-1998"}', "241274-1998", "cpr"),
        (
            "May I have your CPR number, please?\nCaller: Sure, it's 241274-1998",
            "241274-1998",
            "may i have your cpr number",
        ),
        ("just my CPR number? I told the caller it was 241274-1998", "241274-1998", "just my cpr number"),
        ("the CPR number on file, 241274-1998, is wrong", "241274-1998", "the cpr number"),
        ("my real CPR number, 241274-1998, is wrong", "241274-1998", "my real cpr number"),
        ("I placed an order. Please reply to 241274-1998", "241274-1998", "please reply to"),
        ('{"name": "Ada", "field": "dob", "value": "1986-05-03"}', "1986-05-03", "dob"),
        ('{"name": "row 4", "type": "x", "key": "dob", "value": "1986-05-03"}', "1986-05-03", "dob"),
        (";Wert\nGeburt;1986-05-03", "1986-05-03", "wert geburt"),
        ('{"name": "dob", "value": "1986-05-03"}', "1986-05-03", "dob"),
        ('{"dob": {"value": "1986-05-03"}}', "1986-05-03", "dob"),
        ("phone,dob,n\n91827340,1986-05-03,2\n", "1986-05-03", "dob"),
        ("field,value\ndob,1986-05-03\n", "1986-05-03", "value dob"),
        ("cpr,navn\n241274-1998,\n171150-0843,\n", "241274-1998", "cpr"),
        ("cpr,navn\n241274-1998,\n171150-0843,\n", "171150-0843", "cpr"),
        ("navn,cpr\n,241274-1998\n", "241274-1998", "cpr"),
        ("cpr;navn;by\r\n241274-1998;;\r\n171150-0843;;\r\n", "171150-0843", "cpr"),
        ("cpr\tnavn\tby\n\t\t\n241274-1998\t\t\n", "241274-1998", "cpr"),
        ("cpr,navn,by\n,,\n241274-1998,Bo,Ribe\n", "241274-1998", "cpr"),
        ("cpr,navn,\n241274-1998,Bo,\n", "241274-1998", "cpr"),
        ('u.setOrder("7");\nu.setCpr("241274-1998");\n', "241274-1998", "u set cpr"),
        ('"cpr","navn"\n"241274-1998",""\n', "241274-1998", "cpr"),
        ('navn,cpr\n"Bo, Ib",241274-1998\n', "241274-1998", "cpr bo ib"),
        ("cpr,navn,by\n171150-0843,Bo\n241274-1998,Ib,Ribe\n", "241274-1998", "cpr"),
        ("cpr,navn,by\n171150-0843,Bo,Ribe\n010378-1892,Ib\n241274-1998,Ib,Ribe\n", "241274-1998", "cpr"),
        ("navn,by,cpr\nBo,Ribe,171150-0843\nIb,Vejle\nPia,Ribe,241274-1998\n", "241274-1998", "cpr"),
        ("navn,by,n\nBo,Ribe,7\ncpr,n\n241274-1998,8\n", "241274-1998", "cpr"),
    ],
)
def test_a_value_is_called_by_its_column_or_key(text: str, value: str, name: str) -> None:
    label = Labels(text).of(text.index(value))
    assert label is not None
    assert label.text == name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (INSERT + " SELECT 1, '2001-02-03'", "2001-02-03"),
        ("Claim     KH-24-0048\nPlate     HH-LX 2719E\n", "HH-LX 2719E"),
        ('{"meta":{"versionId":"24-681-3597"}}', "24-681-3597"),
    ],
)
def test_what_is_no_row_has_no_head(text: str, value: str) -> None:
    labels = Labels(text)
    assert not labels.is_headed(text.index(value))
    label = labels.of(text.index(value))
    assert label is None or label.text in ("select 1", "plate", "version id")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (PSQL, ["87396051924", "1986-05-03"]),
        (INSERT, ["1986-05-03", "1990-11-12"]),
        (COPY, ["1973-08-30"]),
        ('{"name": "dob", "value": "1986-05-03"}', ["1986-05-03"]),
        ("id,phone,n\n4418,0176 8834 2190,3\n", ["0176 8834 2190"]),
    ],
)
def test_values_are_found_by_their_heads(detector: Detector, text: str, values: list[str]) -> None:
    found = detector.scan([Segment("", Surface.USER, text)])
    assert [text[f.start : f.end] for f in found] == values


def test_a_sentence_names_its_value_behind_it() -> None:
    text = "241274-1998 is my CPR number, and 8814 was late"
    assert behind(text, len("241274-1998")) == "my cpr number"
    assert behind(text, text.index(" was")) == "late"
    assert behind("241274-1998, my CPR", len("241274-1998")) == ""
