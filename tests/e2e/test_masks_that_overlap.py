"""What one rule takes out for good is not brought back by another that masks what it stands in."""

import base64
from pathlib import Path

import pytest

from e2e.traffic import ask, running
from gateways import OPEN_POLICY
from sallyport.lab.server import Lab

MAIL = "odile.brandt@example.org"
PASSWORD = "".join(("Zx9kQ2", "mP7wLs"))
BASIC = base64.b64encode(f"{MAIL}:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    ("operator", "comes_back"), [("placeholder", True), ("redact", False), ("hash", False)]
)
def test_an_address_inside_a_masked_credential_comes_back_only_if_it_may(
    operator: str, tmp_path: Path, lab: Lab, *, comes_back: bool
) -> None:
    policy = (
        OPEN_POLICY + f"secrets: {{action: mask}}\nmasking: {{entities: {{EMAIL_ADDRESS: {operator}}}}}\n"
    )
    with running(tmp_path, lab, policy=policy) as gateway:
        got = ask(gateway, "gpt-4o", f"Send Authorization: Basic {BASIC} to them").body.decode()
    assert "You wrote:" in got
    assert (BASIC in got) is comes_back
    assert ("[MASKED]" in got) is not comes_back
