"""The tools a request declares, and who runs each: the client, the provider, or a server the provider calls.

A tool that the provider defines goes by its type, which a client cannot choose. What is not understood is
a hosted tool of its own name: nothing that stands in a list of tools is left out.
"""

import re
from collections.abc import Iterator

from sallyport.exchange import Tool, ToolKind
from sallyport.wire import fields
from sallyport.wire.jsontext import Json
from sallyport.wire.shapes import snake

UNREADABLE = "(unreadable)"
"""Name of an entry of a list of tools that is no tool of any known form."""

_OWN_TYPES = frozenset({"function", "custom"})
_CLIENT_RUN = re.compile(
    r"(?:bash|text_editor|computer|memory)_[0-9]{8}|local_shell|apply_patch|computer_use_preview|computer"
)
"""Types of tools that a provider defines and the client runs."""

_URL = re.compile(
    r"(?:https?|wss?)://([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)\.?(?::[0-9]{1,5})?(?:[/?#][^\\\s]*)?"
)


def of_openai(body: dict[str, Json]) -> tuple[Tool, ...]:
    """Return the tools of a body in OpenAI's form, of compatible clouds too: lists, and switches of their own."""
    found = [*_listed(body.get("tools")), *_functions(body.get("functions"))]
    found += (_hosted(name) for name in _SWITCHES if body.get(name) is not None)
    found += (_hosted("web") for name in (body.get("model"), *_items(body.get("models"))) if _searches(name))
    for member, key in (("plugins", "id"), ("data_sources", "type"), ("connectors", "id")):
        found += (_hosted(_named(item, key)) for item in _items(body.get(member)))
    items = body.get("input")
    for item in items if type(items) is list else ():
        if type(item) is dict and "tools" in item:
            found += _listed(item["tools"])
    return tuple(found)


_SWITCHES = ("web_search_options", "search_parameters", "compound_custom")
"""Members whose presence lets the provider search: OpenAI's chat completions, xAI; of Groq, also run code."""


def _searches(model: Json) -> bool:
    """Say whether a model's name asks for OpenRouter's plugin `web`, as `openai/gpt-4o:online` does."""
    return type(model) is str and ":online" in model.casefold()


def of_anthropic(body: dict[str, Json]) -> tuple[Tool, ...]:
    """Return the tools of a Messages body: its list, its MCP servers, the skills of its container."""
    servers = {
        fields.string(s, "name") or "": _host(s.get("url")) for s in fields.objects(body, "mcp_servers")
    }
    found = [
        Tool(_named(s, "name"), ToolKind.MCP, _host(fields.get(s, "url")))
        for s in _items(body.get("mcp_servers"))
    ]
    for tool in _items(body.get("tools")):
        kind = fields.get(tool, "type")
        if kind == "mcp_toolset":
            name = _named(tool, "mcp_server_name")
            found.append(Tool(name, ToolKind.MCP, servers.get(name, "")))
        else:
            found += _typed(tool, kind)
    found += (_hosted("skills") for _ in _items(fields.get(body, "container", "skills"))[:1])
    return tuple(found)


def of_gemini(body: Json) -> tuple[Tool, ...]:
    """Return the tools of a generate request: each member of a tool is one, named in snake_case."""
    found: list[Tool] = []
    for tool in _items(fields.get(body, "tools")):
        if type(tool) is not dict:
            found.append(_hosted(UNREADABLE))
            continue
        for member, value in tool.items():
            match snake(member):
                case "function_declarations":
                    found += _functions(value)
                case "mcp_servers":
                    found += (_gemini_server(server) for server in _items(value))
                case name:
                    found.append(_hosted(name))
    return tuple(found)


def of_converse(body: Json) -> tuple[Tool, ...]:
    """Return the tools of a Converse body: a union of toolSpec, systemTool and what else there will be."""
    found: list[Tool] = []
    for tool in _items(fields.get(body, "toolConfig", "tools")):
        members = tool if type(tool) is dict else {UNREADABLE: None}
        for member, value in members.items():
            if member == "toolSpec":
                found.append(Tool(_named(value, "name")))
            elif member == "systemTool":
                found.append(_hosted(_named(value, "name")))
            elif member != "cachePoint":
                found.append(_hosted(member))
    more = fields.get(body, "additionalModelRequestFields")
    return (*found, *of_anthropic(more)) if type(more) is dict else tuple(found)


def _listed(tools: Json) -> Iterator[Tool]:
    for tool in _items(tools):
        kind = fields.get(tool, "type")
        if kind == "mcp":
            yield from _servers(tool)
        elif kind == "namespace":
            yield from _listed(fields.get(tool, "tools"))
        else:
            yield from _typed(tool, kind)


def _servers(tool: Json) -> Iterator[Tool]:
    """Yield the server of a tool; two, where it has an address and a connector: which counts, the provider knows."""
    url, connector = fields.get(tool, "server_url"), fields.string(tool, "connector_id")
    label = _named(tool, "server_label")
    if url is not None or connector is None:
        yield Tool(label, ToolKind.MCP, _host(url))
    if connector is not None:
        yield Tool(label, ToolKind.MCP, connector.lower())


def _typed(tool: Json, kind: Json) -> Iterator[Tool]:
    """Yield a tool by its type; one without a type is the client's own.

    A function that has two names, in both places that APIs know, is two: which counts, the provider knows.
    """
    if type(tool) is not dict or (kind is not None and type(kind) is not str):
        yield _hosted(UNREADABLE)
    elif kind is None or kind in _OWN_TYPES:
        found: list[str] = []
        for holder in (tool, tool.get("function"), tool.get("custom")):
            name = holder.get("name") if type(holder) is dict else None
            if type(name) is str and name and name not in found:
                found.append(name)
        if kind is None and not found:
            yield _hosted(UNREADABLE)
        for name in found or ((UNREADABLE,) if kind is not None else ()):
            yield Tool(name)
    else:
        yield Tool(kind) if _CLIENT_RUN.fullmatch(kind) else _hosted(kind)


def _functions(declarations: Json) -> Iterator[Tool]:
    for declaration in _items(declarations):
        yield Tool(_named(declaration, "name"))


def _gemini_server(server: Json) -> Tool:
    transport = fields.get(server, "streamableHttpTransport") or fields.get(
        server, "streamable_http_transport"
    )
    return Tool(_named(server, "name"), ToolKind.MCP, _host(fields.get(transport, "url")))


def _items(value: Json) -> list[Json]:
    """Return the elements of a list; what stands there without one is its only element."""
    if value is None:
        return []
    return value if type(value) is list else [value]


def _hosted(name: str) -> Tool:
    return Tool(name, ToolKind.HOSTED)


def _named(value: Json, key: str) -> str:
    name = value.get(key) if type(value) is dict else value
    return name if type(name) is str and name else UNREADABLE


def _host(url: Json) -> str:
    """Return the host of a URL, lower case; "" for one that two parsers could read differently."""
    found = _URL.fullmatch(url) if type(url) is str else None
    return found[1].lower() if found else ""
