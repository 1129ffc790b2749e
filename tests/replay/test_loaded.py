"""`mitmdump -nr FLOWS -s addons/gateway.py`: stock mitmdump reads the flows, and each is judged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.io import FlowReader

from replay.recording import ANSWER, flow, write
from sallyport.audit.store import Store

ADDONS = Path(__file__).parents[2] / "addons"
POLICY = """\
version: 1
identity: {unknown: anonymous}
masking: {entities: {CREDIT_CARD: deny, EMAIL_ADDRESS: placeholder}}
output: {entities: {EMAIL_ADDRESS: truncate}}
"""


@pytest.mark.timeout(300)
def test_stock_mitmdump_judges_what_it_reads(tmp_path: Path) -> None:
    mailed = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "a.smith@example.com"},
    }
    flows = [
        flow("hello"),
        flow("Write to ann.smith@example.com", at=1),
        flow("pay 4111 1111 1111 1111", at=2),
        flow("who?", at=3, answer={**ANSWER, "choices": [mailed]}),
        flow("x", at=4, host="www.example.org"),
    ]
    file = write(tmp_path / "may.flow", flows)
    policy, judged = tmp_path / "policy.yaml", tmp_path / "judged.flow"
    policy.write_text(POLICY)
    environment = os.environ | {
        "PYTHONPATH": str(ADDONS),
        "SALLYPORT_POLICY": str(policy),
        "SALLYPORT_CONFDIR": str(tmp_path / "conf"),
    }
    command = [str(Path(sys.executable).parent / "mitmdump"), "-nr", str(file), "-w", str(judged)]
    command += ["-s", str(ADDONS / "gateway.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    with judged.open("rb") as opened:
        read = [each for each in FlowReader(opened).stream() if isinstance(each, http.HTTPFlow)]
    assert [(each.comment, each.marked) for each in read] == [
        ("sallyport: allow", ""),
        ("sallyport: modify: masking.masked", ":pencil:"),
        ("sallyport: deny: masking.denied", ":no_entry:"),
        ("sallyport: allow; answer truncate: pii.contact.email_address", ":scissors:"),
        ("sallyport: allow", ""),
    ]
    assert [each.request.content for each in read] == [each.request.content for each in flows]
    assert f"{read[2].id}: deny: masking.denied" in done.stdout
    store = Store.open(f"sqlite:///{tmp_path}/conf/audit.db")
    try:
        assert not [event for event in store.events(limit=10) if event.exchange], "nothing of it is recorded"
    finally:
        store.close()
