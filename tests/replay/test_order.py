"""Many flows in the order of time, in bounded memory."""

import os
import random
from pathlib import Path

import pytest
from mitmproxy.io import tnetstring

from replay.recording import flow, write
from sallyport.replay.heads import heads
from sallyport.replay.order import Order


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000], ids=str)
def test_runs_come_out_as_one_sorted_list_would(count: int) -> None:
    chosen = random.Random(count)
    added = [
        (chosen.choice((0.0, -0.0, 1.5, 1.8e9, chosen.random())), chosen.randrange(3), n)
        for n in range(count)
    ]
    with Order(run=8) as order:
        for entry in added:
            order.add(*entry)
        wanted = [(file, at) for _, file, at in sorted(added)]
        assert len(order) == count
        assert [*order] == wanted
        assert [*order] == wanted, "twice the same"


def test_what_is_closed_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Order(run=2) as order:
        for number in range(5):
            order.add(0.0, 0, number)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_head_says_what_the_whole_flow_says(tmp_path: Path) -> None:
    file = write(tmp_path / "a.flow", [flow("x" * 9000, at=n) for n in range(3)])
    with file.open("rb") as opened:
        found = [*heads(opened)]
    with file.open("rb") as opened:
        for at, head in found:
            assert opened.tell() == at
            whole = tnetstring.load(opened)
            assert head is not None
            assert (head.sort, head.websocket, head.requests) == ("http", False, True)
            assert head.began == whole["request"]["timestamp_start"]


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"3:abc,", 0),
        (b"0:}", 0),
        (b"12:4:type,4:http,}", 0),
        (b"15:4:type;4:http;x}", 0),
        (b"14:4:type;4:http;}9", 1),
        (b"-1:}", 0),
        (b"99999999999999999999:x}", 0),
        (b"1", 0),
    ],
    ids=["no dictionary", "empty", "too short", "crumbs", "tail", "negative", "huge", "cut"],
)
def test_what_is_no_flow_ends_the_file_there(data: bytes, whole: int, tmp_path: Path) -> None:
    file = tmp_path / "a.flow"
    file.write_bytes(data)
    with file.open("rb") as opened:
        found = [head for _, head in heads(opened)]
    assert len([head for head in found if head is not None]) == whole
    assert found[-1] is None
