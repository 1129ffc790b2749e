"""Whose changed requests are signed anew, and with what."""

import pytest

from sallyport.exchange import Principal
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError

RULES = """
version: 1
signing:
  rules:
    - {credential: first, principals: ["ada*"], hosts: ["*.eu-west-1.amazonaws.com"]}
    - {credential: second, tenants: [research], roles: [ml, ops]}
    - {credential: third, tenants: ["*"], principals: [bo]}
"""


@pytest.mark.parametrize(
    ("tenant", "principal", "roles", "host", "credential"),
    [
        ("default", "ada", (), "bedrock-runtime.eu-west-1.amazonaws.com", "first"),
        ("default", "Ada.L", (), "bedrock-runtime.eu-west-1.amazonaws.com", "first"),
        ("default", "ada", (), "bedrock-runtime.us-east-1.amazonaws.com", None),
        ("research", "ada", ("ops",), "bedrock-runtime.us-east-1.amazonaws.com", "second"),
        ("research", "bo", (), "bedrock-runtime.us-east-1.amazonaws.com", "third"),
        ("sales", "cy", ("ml",), "bedrock-runtime.us-east-1.amazonaws.com", None),
        ("default", "anonymous", (), "bedrock-runtime.us-east-1.amazonaws.com", None),
    ],
)
def test_the_first_rule_that_fits_in_all_its_keys_names_the_credential(
    tenant: str, principal: str, roles: tuple[str, ...], host: str, credential: str | None
) -> None:
    signing = parse_policy(RULES).signing
    source = "anonymous" if principal == "anonymous" else "header"
    assert signing.credential(Principal(principal, tenant, roles, source=source), host) == credential


def test_a_rule_says_for_whom_it_signs() -> None:
    with pytest.raises(PolicyError, match="does not say for whom"):
        parse_policy('version: 1\nsigning: {rules: [{credential: a, hosts: ["*"]}]}')


def test_nobody_is_signed_for_where_the_policy_says_nothing() -> None:
    assert parse_policy("version: 1").signing.credential(Principal("ada", "default"), "h") is None


def test_nobody_in_particular_is_signed_for_where_a_rule_names_principals_only() -> None:
    nobody = Principal("anonymous", "default")
    for who, signed in (
        ('tenants: ["*"]', False),
        ('roles: ["*"]', False),
        ("principals: [anonymous]", True),
    ):
        policy = parse_policy(f"version: 1\nsigning: {{rules: [{{credential: a, {who}}}]}}")
        assert (policy.signing.credential(nobody, "h") is not None) is signed
