"""What clients say of themselves: the coding agent, its session, the account at the provider. Nobody has proved it.

All of it becomes attributes, `hint.*` and `unproved.*`; none of it makes anybody somebody. What is repeated, too
long or not plain is left out. Header names as the clients send them in 2026; those of closed clients were
observed by others and may change.
"""

import re
from collections.abc import Iterator, Mapping

from sallyport.exchange import Exchange

MAX_HINT_CHARS = 200

_HEADERS: Mapping[str, str] = {
    # Claude Code: code.claude.com/docs/en/llm-gateway-protocol
    "x-claude-code-session-id": "hint.session",
    "x-claude-code-agent-id": "hint.subagent",
    "x-claude-code-parent-agent-id": "hint.parent",
    # Codex: github.com/openai/codex
    "session-id": "hint.session",
    "session_id": "hint.session",
    "x-openai-subagent": "hint.subagent",
    "x-codex-parent-thread-id": "hint.parent",
    # GitHub Copilot
    "vscode-sessionid": "hint.session",
    "editor-version": "hint.editor",
    "x-initiator": "hint.initiator",
    # OpenCode
    "x-opencode-session": "hint.session",
    "x-opencode-parent-session": "hint.parent",
    # accounts at providers
    "openai-organization": "unproved.openai_organization",
    "openai-project": "unproved.openai_project",
    "chatgpt-account-id": "unproved.chatgpt_account",
    "x-organization-uuid": "unproved.anthropic_organization",
    "x-goog-user-project": "unproved.google_project",
}

_PRODUCTS: Mapping[str, str] = {
    "claude-cli": "claude_code",
    "claude-code": "claude_code",
    "codex": "codex",
    "codex_cli_rs": "codex",
    "codex_exec": "codex",
    "codex_vscode": "codex",
    "codex-tui": "codex",
    "githubcopilotchat": "copilot",
    "copilot": "copilot",
    "geminicli": "gemini_cli",
    "gemini-cli": "gemini_cli",
    "opencode": "opencode",
    "aider": "aider",
    "cline": "cline",
    "roo-code": "roo_code",
    "continue": "continue",
    "zed": "zed",
    "cursor": "cursor",
    "qwen-code": "qwen_code",
    "qwencode": "qwen_code",
}
"""Coding agents by the first product of their user agent, or what Codex calls its originator."""

_USER_ID = re.compile(
    r"user_[0-9a-f]{64}_account_([0-9a-f-]{36})?_session_([0-9a-f-]{36})"
    r'|\{[^{}]*"account_uuid": ?"([0-9a-f-]{0,36})"[^{}]*"session_id": ?"([0-9a-f-]{36})"[^{}]*\}'
)
"""metadata.user_id of Claude Code: account and session, in its older and its newer form."""


def hints(exchange: Exchange, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes. headers: those that are there once, names in lower case."""
    found: dict[str, str] = {}
    for header, attribute in _HEADERS.items():
        value = headers.get(header)
        if value is not None and attribute not in found and _is_plain(value):
            found[attribute] = value
    agent = _agent(headers)
    if agent:
        found["hint.agent"] = agent
    if agent == "claude_code":
        for name, value in _of_metadata(exchange):
            found.setdefault(name, value)
    if exchange.client.tls:
        found["tls"] = exchange.client.tls
    return found


def _agent(headers: Mapping[str, str]) -> str:
    if "copilot-integration-id" in headers:
        return "copilot"
    for header in ("originator", "user-agent"):
        product = headers.get(header, "").partition("/")[0].partition(" ")[0].lower()
        if product in _PRODUCTS:
            return _PRODUCTS[product]
    return ""


def _of_metadata(exchange: Exchange) -> Iterator[tuple[str, str]]:
    text = next((s.text for s in exchange.request.segments if s.at == "/metadata/user_id"), "")
    match = _USER_ID.fullmatch(text) if len(text) <= 500 else None
    if match is not None:
        account, session = match[1] or match[3], match[2] or match[4]
        if account:
            yield "unproved.anthropic_account", account
        yield "hint.session", session


def _is_plain(value: str) -> bool:
    return 0 < len(value) <= MAX_HINT_CHARS and value.isascii() and value.isprintable()
