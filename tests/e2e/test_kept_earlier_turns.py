"""What an earlier turn had masked and a later answer brings back is masked in what is kept, too.

On a WebSocket the provider keeps the conversation: the request of a turn holds that turn alone.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2e.traffic import recorded, running, settled
from gateways import OPEN_POLICY, lab_in_thread
from sallyport.cli.main import app
from sallyport.lab.server import Lab
from socketclient import CREATE, SocketClient, item, text_of, told

NUMBER = "543219876"
POLICY = OPEN_POLICY + "content: {keep: masked, reveal: {second_person: false}}\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def kept(conf: Path) -> list[str]:
    """Return all texts that are kept."""
    found = []
    for exchange in sorted({event.exchange for event in recorded(conf) if event.is_end}):
        words = ["audit", "reveal", exchange, "--reason", "a test", "--json", "--confdir", str(conf)]
        done = CliRunner().invoke(app, words)
        if done.exit_code == 0:
            parts = json.loads(done.stdout)
            found += [text["text"] for part in parts for text in part["texts"]]
    return found


def test_a_value_of_an_earlier_turn_is_masked_where_it_comes_back(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=POLICY) as gateway:
        client = SocketClient.open(gateway.port, gateway.confdir)
        client.hear()
        client.say(item(f"My US passport number is {NUMBER}."))
        client.say(CREATE)
        assert NUMBER in text_of(client.until("response.done"))
        (placeholder,) = set(re.findall(r"<[A-Z_]+_[a-z2-7]{10}>", "".join(told(lab))))
        client.say(item(f"Say {placeholder} again."))
        client.say(CREATE)
        assert NUMBER in text_of(client.until("response.done"))
        client.close()
        client.hear()
        settled(gateway.confdir)
    texts = kept(tmp_path / "conf")
    assert not any(NUMBER in text for text in texts), texts
    assert any("again" in text and "[US_PASSPORT]" in text for text in texts), texts
