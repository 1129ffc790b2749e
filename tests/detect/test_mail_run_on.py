"""Mail addresses in scripts that write no space behind them, as people in Tokyo, Seoul, Beijing and Bangkok do."""

import pytest

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.exchange import Segment, Surface


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.PII}), deadline_s=60.0, cpu_s=60.0))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("请写信到 ann@example.com谢谢大家", "com"),
        ("連絡先は ann@example.co.jpです。", "jp"),
        ("문의는 ann@example.com으로 주세요", "com"),
        ("ติดต่อ ann@example.comได้เลย", "com"),
        ("写信到 ann@例子.中国 吧", "中国"),
        ("an müller@bücher.de schreiben", "de"),
    ],
)
def test_an_address_ends_where_its_domain_does(detector: Detector, text: str, end: str) -> None:
    (found,) = detector.scan([Segment("/t", Surface.USER, text)])
    assert found.entity == "EMAIL_ADDRESS"
    assert text[: found.end].endswith(end)
    assert "@" in text[found.start : found.end]


def test_a_word_with_an_at_is_no_address_because_of_what_follows(detector: Detector) -> None:
    assert detector.scan([Segment("/t", Surface.USER, "ann@example.notatld谢谢 ann@x谢谢.c")]) == ()
