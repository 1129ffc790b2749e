"""A gateway key in a text is a secret, whichever provider's format it has."""

import pytest

from sallyport.cli.detection import make_detector
from sallyport.decision import Kind
from sallyport.detect.engine import Detector
from sallyport.exchange import Segment, Surface
from sallyport.policy.load import parse_policy
from sallyport.state.gatewaykeys import SHAPES, new_gateway_key


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_detector(parse_policy("version: 1\n"))


@pytest.mark.parametrize("provider", [*SHAPES, "somebody-else"])
@pytest.mark.parametrize("text", ["my key is {} please", "export KEY={}", '{{"key": "{}"}}'])
def test_a_gateway_key_in_a_text_is_found_whole(detector: Detector, provider: str, text: str) -> None:
    for _ in range(5):
        key = new_gateway_key(b"k" * 32, provider)
        said = text.format(key)
        found = [f for f in detector.scan([Segment("/x", Surface.USER, said)]) if f.kind is Kind.SECRET]
        assert found, said
        start, end = min(f.start for f in found), max(f.end for f in found)
        assert start <= said.index(key)
        assert end >= said.index(key) + len(key)
