"""How far a secret reaches: with its run where the pattern ended in it, or to the quote that closes what it begins."""

import random
import string

import pytest

from detect.scanning import findings
from sallyport.decision import Kind
from sallyport.detect.engine import Detector
from sallyport.detect.reach import end_of_secret, is_next_setting
from sallyport.detect.settings import DetectionSettings
from sallyport.exchange import Surface

CHANCE = random.Random(20)
RUN = "".join(CHANCE.choices(string.ascii_letters + string.digits, k=900))


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("AWS_SESSION_TOKEN=", f"IQoJ{RUN}==", "\nA=1"),
        ("    client-key-data: ", f"LS0t{RUN}=", "\nkind: Config"),
        ("FROB_KEY='", f"{RUN[:40]}=-k{{8s}}T:z(Q2p<4", "'"),
    ],
)
def test_a_secret_is_found_whole_however_long_it_is(before: str, value: str, after: str) -> None:
    detector = Detector(DetectionSettings(kinds=frozenset([Kind.SECRET])))
    found = findings(detector, before + value + after, Surface.USER)
    assert [(f.start, f.end) for f in found] == [(len(before), len(before + value))]


@pytest.mark.parametrize(
    ("text", "start", "end", "whole"),
    [
        (RUN, 0, 400, 900),
        (f"{RUN[:40]}/next", 0, 40, 40),
        (f"{RUN[:20]}/{RUN[:20]}/next", 0, 41, 46),
        (f"{RUN[:24]}{RUN}", 0, 24, 24),
        (f"{RUN[:40]}. And", 0, 40, 40),
        (f"{RUN[:40]}.", 0, 41, 41),
        (f"{RUN[:40]}=={RUN[:5]}", 0, 40, 40),
        (f"{RUN[:20]}_{RUN[:20]}_used_by_the_shop", 0, 41, 41),
        (f"{RUN[:60]}_{RUN[:60]}_{RUN[:40]}", 0, 121, 162),
        ('"a1b2c3@}d4"', 1, 7, 11),
        ('"a1b2c3,name:ada@example.com"', 1, 7, 7),
        ('"a1b2c3&next=/users/ada"', 1, 7, 7),
        ('"a1b2c3${x}"', 1, 7, 7),
        ('"a1b2c3<b>"', 1, 7, 7),
        ('"a1b2c3:' + RUN[:40] + '"', 1, 7, 7),
        ('"a1b2c3$"', 1, 7, 8),
        ('"a1b2c3 d4"', 1, 7, 7),
        ('"a1b2c3<PERSON_k3j5h2g1f4>"', 1, 7, 7),
        ("a1b2c3@d4", 0, 6, 6),
    ],
)
def test_a_secret_ends_with_its_run_or_its_quotes(text: str, start: int, end: int, whole: int) -> None:
    assert end_of_secret(text, start, end) == whole


def test_a_part_that_was_decoded_by_chance_does_not_cut_the_secret_around_it() -> None:
    detector = Detector(DetectionSettings(kinds=frozenset([Kind.SECRET])))
    value = (
        "1eaf27a738e2f3b07fc32f8e8e144dae5914ff082363cb04d637f0d6afb65047f4d8c87053c51958a0eb6833efc833da" * 2
    )
    assert [f.end for f in findings(detector, f"JWT_SECRET={value}")] == [len("JWT_SECRET=") + len(value)]


def test_a_quote_that_closes_a_value_is_no_part_of_it() -> None:
    text = "passwd='Kite-Ufer_77', database='shop'"
    assert end_of_secret(text, 8, 22) == end_of_secret(text, 8, 21) == 20


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("PASSWORD=\nDB_HOST=localhost", True),
        ("password=\r\ndb.name=ledger2", True),
        ("  password:\n  host2: cache-01", True),
        ("PASSWORD:\n\nLOG_LEVEL=debug2", True),
        ("export PGPASSWORD=\nexport PGHOST=db-7", True),
        ("password:\nkV7#pq2!zL", False),
        ("the password:\nKite=77!x", False),
        ("password=\nJBSWY3DPEHPK3PXP22QT=", False),
        ("secret:\nQ2hhbm5lbCBpcyBvcGVu==", False),
        ("PASSWORD=DB_HOST=localhost", False),
    ],
)
def test_a_setting_with_nothing_behind_it_does_not_take_the_next_one(text: str, *, following: bool) -> None:
    last = text.rfind("\n") + 1 or text.index("=") + 1
    start = last + len(text[last:]) - len(text[last:].lstrip())
    start += len("export ") if text[start:].startswith("export ") else 0
    assert is_next_setting(text, start) is following
