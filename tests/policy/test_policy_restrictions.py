"""Tenant restrictions: what a policy may write, and what becomes of header lines."""

import base64
import json

import pytest

from sallyport.data import rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import load_catalogue
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.restrictions import Restricted, restricted

ENTRIES = load_catalogue(rules_dir() / "providers").restrictions
ORGANISATION = "0a1b2c3d-0000-4000-8000-00000000abcd"
DIRECTORY = "11111111-2222-3333-4444-555555555555"
WELL_FORMED = {
    "chatgpt_workspaces": ORGANISATION,
    "anthropic_organizations": ORGANISATION,
    "google_workspace_domains": "example.com",
    "google_cloud_organizations": "organizations/1234567890",
    "gemini_code_assist_domains": "example.com",
    "microsoft_tenants": "example.onmicrosoft.com",
    "microsoft_own_directory": DIRECTORY,
    "microsoft_tenant_policy": f"{DIRECTORY}:{ORGANISATION}",
    "microsoft_consumer_accounts": "restrict-msa",
    "github_enterprises": "my-enterprise",
}


def made(**values: list[str]) -> Restricted:
    policy = parse_policy(json.dumps({"version": 1, "restrictions": values}))
    return restricted(ENTRIES, policy.restrictions)


def sent(chosen: Restricted, host: str, *fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    lines = chosen.apply(host, fields)
    assert len({name.lower() for name, _ in lines}) == len(lines)
    return dict(lines)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.id)
def test_each_restriction_is_written_on_each_of_its_hosts_and_nowhere_else(entry) -> None:  # type: ignore[no-untyped-def]
    values = {entry.id: [WELL_FORMED[entry.id]], **{n: [WELL_FORMED[n]] for n in entry.needs}}
    chosen = made(**values)
    for pattern in entry.hosts:
        host = pattern.replace("*", "any")
        forged = (entry.header.upper().encode(), b"the client's own")
        lines = sent(chosen, host, (b"accept", b"*/*"), forged)
        assert lines[entry.header.encode()] not in (b"", forged[1])
        assert lines[b"accept"] == b"*/*"
        assert chosen.concerns(host)
    assert not chosen.concerns("example.org")
    assert sent(chosen, "example.org", forged) == dict([forged])


def test_values_are_joined_as_vendors_want_them() -> None:
    chosen = made(
        anthropic_organizations=[ORGANISATION, DIRECTORY], google_cloud_organizations=["organizations/7"]
    )
    anthropic = sent(chosen, "api.anthropic.com")
    assert anthropic == {b"anthropic-allowed-org-ids": f"{ORGANISATION},{DIRECTORY}".encode()}
    google = sent(chosen, "aiplatform.googleapis.com")[b"X-Goog-Allowed-Resources"]
    assert json.loads(base64.urlsafe_b64decode(google)) == {
        "resources": ["organizations/7"],
        "options": "strict",
    }


def test_version_two_of_microsoft_takes_the_headers_of_version_one_away() -> None:
    chosen = made(microsoft_tenant_policy=[f"{DIRECTORY}:{ORGANISATION}"])
    lines = sent(chosen, "login.microsoftonline.com", (b"restrict-access-to-tenants", b"evil.example"))
    assert list(lines) == [b"sec-Restrict-Tenant-Access-Policy"]


@pytest.mark.parametrize(
    ("values", "where", "what"),
    [
        ({"anthropic_organisations": [ORGANISATION]}, "restrictions.anthropic_organisations", "no such"),
        ({"anthropic_organizations": ["acme"]}, "restrictions.anthropic_organizations[0]", "not spelt"),
        (
            {"anthropic_organizations": [f"{ORGANISATION},x"]},
            "restrictions.anthropic_organizations[0]",
            "not",
        ),
        ({"github_enterprises": ["a\r\nX-Evil: 1"]}, "restrictions.github_enterprises[0]", "not spelt"),
        ({"github_enterprises": ["e"] * 21}, "restrictions.github_enterprises", "takes 20"),
        ({"microsoft_tenants": ["a.example"]}, "restrictions.microsoft_tenants", "no effect without"),
        (
            {
                "microsoft_tenant_policy": [f"{DIRECTORY}:{ORGANISATION}"],
                "microsoft_consumer_accounts": ["restrict-msa"],
            },
            "restrictions.microsoft_tenant_policy",
            "cannot be set beside",
        ),
        ({"microsoft_own_directory": [DIRECTORY, ORGANISATION]}, "restrictions.microsoft_own", "takes 1"),
    ],
)
def test_what_a_vendor_would_not_understand_is_an_error_at_load(
    values: dict[str, list[str]], where: str, what: str
) -> None:
    with pytest.raises(OperatorError) as raised:
        made(**values)
    assert raised.value.where.startswith(where)
    assert what in raised.value.what


def test_a_restriction_without_values_would_restrict_nobody() -> None:
    with pytest.raises(PolicyError, match="without values"):
        made(github_enterprises=[])
