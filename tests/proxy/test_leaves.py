"""A leaf is minted once and kept, and minted anew before a client would refuse it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME

from sallyport.pki import create_ca
from sallyport.proxy.tls import leaf

HOST, OTHER = "api.openai.com", "eu.api.openai.com"


@pytest.fixture
def store(tmp_path: Path) -> CertStore:
    create_ca(tmp_path / "ca", [HOST, OTHER], key="ec")
    return CertStore.from_store(tmp_path / "ca", CONF_BASENAME, 2048)


@pytest.mark.parametrize("days", [0, 100, 195])
def test_a_leaf_that_is_valid_is_kept(store: CertStore, days: int) -> None:
    first, now = leaf(store, HOST, datetime.now(UTC)), datetime.now(UTC)
    assert leaf(store, HOST, now + timedelta(days=days)) is first
    assert leaf(store, HOST, now - timedelta(days=1)) is first, "clients' clocks may be behind"


@pytest.mark.parametrize(
    "days", [-3, 196, 198, 400], ids=["clock set back", "ends soon", "ended", "long ago"]
)
def test_a_leaf_that_is_not_valid_is_minted_anew(store: CertStore, days: int) -> None:
    first, other = (leaf(store, host, datetime.now(UTC)) for host in (HOST, OTHER))
    again = leaf(store, HOST, datetime.now(UTC) + timedelta(days=days))
    assert again is not first
    assert again.cert.altnames == first.cert.altnames
    assert list(store.certs.values()) == store.expire_queue == [other, again]
