"""Vector stores as OpenAI's SDK keeps them: made, filled, waited for, looked through, emptied."""

from collections.abc import Iterator

import openai
import pytest

from e2e.traffic import running
from gateways import GatewayProcess, lab_in_thread
from sallyport.lab.server import Lab

POLICY = """version: 1
identity: {unknown: anonymous}
access:
  operations: [file]
  attachments: {allow: [application/x-file-reference, text/plain]}
"""
MAIL = "odile.brandt@example.org"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


@pytest.fixture
def gateway(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("stores"), lab, policy=POLICY) as up:
        for name, value in up.env.items():
            monkeypatch.setenv(name, value)
        yield up


def test_a_store_is_made_filled_waited_for_and_emptied(gateway: GatewayProcess, lab: Lab) -> None:
    client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0)
    stores, put = client.vector_stores, client.files.create(file=("a.txt", b"Tides"), purpose="assistants")
    store = stores.create(name=f"Letters of {MAIL}", expires_after={"anchor": "last_active_at", "days": 1})
    assert store.name == f"Letters of {MAIL}"
    assert stores.update(store.id, name="Letters").name == "Letters"

    file = stores.files.create_and_poll(put.id, vector_store_id=store.id)
    assert (file.id, file.status) == (put.id, "completed")
    changed = stores.files.update(put.id, vector_store_id=store.id, attributes={"of": MAIL})
    assert changed.attributes == {"of": MAIL}
    assert (
        stores.files.upload_and_poll(vector_store_id=store.id, file=("b.txt", b"Ebb")).status == "completed"
    )
    assert list(stores.files.list(store.id, filter="completed", limit=20))

    batch = stores.file_batches.create_and_poll(store.id, file_ids=[put.id])
    assert batch.status == "completed"
    assert list(stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="completed"))
    stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    assert stores.files.delete(put.id, vector_store_id=store.id).deleted
    assert stores.delete(store.id).deleted

    sent = [r for r in lab.requests if r.path.startswith("/v1/vector_stores")]
    assert any(b"EMAIL_ADDRESS_" in r.body for r in sent)
    assert not [r for r in sent if MAIL.encode() in r.body]
