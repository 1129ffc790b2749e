"""Facts put straight into a request make the request that a dialect reads out of a body that says the same."""

from collections.abc import Mapping
from typing import Any

import pytest

from sallyport.data import rules_dir
from sallyport.exchange import Exchange
from sallyport.policy.catalogue import Catalogue, load_catalogue
from sallyport.policy.load import parse_policy
from sallyport.rehearsal.calling import called
from sallyport.rehearsal.given import Given
from sallyport.stages.directory import NOBODY

POLICY = parse_policy("version: 1\n")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(rules_dir() / "providers")


def read(catalogue: Catalogue, **facts: Any) -> Exchange:
    return called(Given.model_validate(facts), POLICY, catalogue, NOBODY).exchange


BODIES: list[tuple[dict[str, Any], Mapping[str, Any]]] = [
    (
        {"provider": "openai", "endpoint": "POST /v1/chat/completions"},
        {
            "model": "gpt-5",
            "messages": [{"role": "user", "content": "Why?"}],
            "max_tokens": 50,
            "n": 2,
            "temperature": 1,
            "tools": [{"type": "function", "function": {"name": "look"}}],
        },
    ),
    (
        {"provider": "openai", "endpoint": "POST /v1/responses", "hosted_tools": ("web_search",)},
        {
            "model": "gpt-5",
            "input": "Why?",
            "max_output_tokens": 50,
            "n": 2,
            "temperature": 1,
            "tools": [
                {"type": "function", "name": "look"},
                {"type": "web_search"},
                {"type": "mcp", "server_label": "s", "server_url": "https://mcp.example.com/sse"},
            ],
        },
    ),
    (
        {"provider": "anthropic", "endpoint": "POST /v1/messages"},
        {
            "model": "claude-sonnet-4-5",
            "messages": [{"role": "user", "content": "Why?"}],
            "max_tokens": 50,
            "n": 2,
            "temperature": 1,
            "tools": [{"name": "look", "input_schema": {}}],
            "mcp_servers": [{"type": "url", "name": "s", "url": "https://mcp.example.com/sse"}],
        },
    ),
]


@pytest.mark.parametrize(("target", "body"), BODIES)
def test_stated_facts_make_the_request_that_the_dialect_reads(
    catalogue: Catalogue, target: dict[str, Any], body: Mapping[str, Any]
) -> None:
    where = {name: target[name] for name in ("provider", "endpoint")}
    theirs = read(catalogue, **where, body=body).request
    servers = ("mcp.example.com",) if "mcp" in str(body) else ()
    parameters = {"max_output_tokens": 50, "n": 2, "temperature": 1}
    said = {**target, "model": body["model"], "text": "Why?", "tools": ("look",), "parameters": parameters}
    ours = read(catalogue, **said, mcp_servers=servers).request
    assert {(p.name, p.value) for p in ours.parameters} == {(p.name, p.value) for p in theirs.parameters}
    assert {(t.kind, t.server or t.name) for t in ours.declared} == {
        (t.kind, t.server or t.name) for t in theirs.declared
    }
    assert {name for name, _ in ours.unset} == {name for name, _ in theirs.unset}
    for name in ("provider", "dialect", "operation", "model", "stream", "region", "endpoint", "previous"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert "Why?" in [s.text for s in theirs.segments]
    assert [s.text for s in ours.segments] == ["Why?"]


def test_every_inspected_provider_can_be_asked_about(catalogue: Catalogue) -> None:
    for provider in catalogue:
        for method, template, operation in provider.routes.listed:
            asked = read(catalogue, provider=provider.name, endpoint=f"{method} {template}", model="model-1")
            assert asked.request.operation is operation, (provider.name, template)
            assert catalogue.provider(asked.host) is provider
