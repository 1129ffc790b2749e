"""A call made of given facts: provider, host, endpoint and request as the gateway would have read them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sallyport.exchange import (
    Attachment,
    Certificate,
    Client,
    Exchange,
    KeyForm,
    Operation,
    Parameter,
    Request,
    Segment,
    Surface,
    Tool,
    ToolKind,
)
from sallyport.policy.access import Access
from sallyport.policy.catalogue import Catalogue, Endpoint, Provider
from sallyport.policy.hosts import HostError
from sallyport.policy.preflights import HEADERS
from sallyport.policy.problems import Wrong, nearest
from sallyport.policy.sections import Policy
from sallyport.policy.targets import HOLES
from sallyport.rehearsal.given import Given
from sallyport.rehearsal.preflights import question_about
from sallyport.stages.directory import Directory, KeyKind
from sallyport.stages.places import HEADER
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

_HOLE = re.compile(r"\{([a-z_]+)\}")
_UNKNOWN = Endpoint("opaque", Operation.OPAQUE, None, None, "(unknown)")
_SMALL: tuple[dict[str, object], ...] = ({}, {"messages": []}, {"contents": []}, {"input": []})
"""Bodies that say next to nothing, one for each shape there is."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call. request_bytes: of its body, guessed where none was given."""

    exchange: Exchange
    request_bytes: int


def called(
    given: Given,
    policy: Policy,
    catalogue: Catalogue,
    directory: Directory,
    extra: tuple[tuple[str, str], ...] = (),
) -> Called:
    """Make a call of facts. extra: headers beside the given ones.

    Raises Wrong, with the fact it is about, where they name something that there is not.
    """
    provider = catalogue.named(given.provider)
    if provider is None:
        near = nearest(given.provider, (p.name for p in catalogue))
        todo = f"Did you mean `{near}`?" if near else "Take a name of `request.provider`, such as openai"
        raise Wrong("the catalogue has no such provider", todo, ("provider",))
    endpoint = _endpoint(provider, given)
    ahead = given.operation is Operation.PREFLIGHT
    if ahead:
        endpoint = question_about(endpoint, given)
    host = _host(provider, given, catalogue)
    request, size = (
        _read(given, provider, endpoint) if given.body is not None else _stated(given, provider, endpoint)
    )
    region = given.region or policy.access.residency.region(host)
    if not region:
        region = provider.regions.of(host, dict(endpoint.captured), request.model)
    headers = (*_headers(given, policy), *extra)
    request = replace(
        request,
        region=region,
        endpoint=f"{endpoint.method} {endpoint.template}".strip(),
        segments=(*request.segments, *_texts(headers, policy, ahead=ahead)),
    )
    exchange = Exchange(
        id="rehearsal",
        conversation="rehearsal",
        received_at=given.at,
        host=host,
        client=_client(given, headers, directory),
        request=request,
    )
    return Called(exchange, size)


# -- provider and endpoint -----------------------------------------------------------------------------


def _endpoint(provider: Provider, given: Given) -> Endpoint:
    if given.endpoint is not None:
        method, _, target = given.endpoint.partition(" ")
        found = provider.resolve(method, _filled(target, given))
        if isinstance(found, Endpoint):
            if given.operation not in (None, found.operation, Operation.PREFLIGHT):
                what = f"this endpoint has the operation {found.operation}"
                raise Wrong(what, "Leave one of the two out", ("operation",))
            return found
        if " /" not in given.endpoint:
            raise Wrong("this is no endpoint", "Write it as POST /v1/responses", ("endpoint",))
        if given.operation is Operation.PREFLIGHT:
            what = "the catalogue has no such endpoint, so that a preflight of it is a call like any other"
            raise Wrong(what, "Name the endpoint of the call, as POST /v1/responses", ("endpoint",))
        return _UNKNOWN
    if given.operation is Operation.OPAQUE:
        return _UNKNOWN
    wanted = given.operation or Operation.CHAT
    if wanted is Operation.PREFLIGHT:
        wanted = Operation.CHAT
    for method, template, operation in provider.routes.listed:
        if operation is wanted:
            found = provider.resolve(method, _filled(template, given))
            if isinstance(found, Endpoint):
                return found
    raise Wrong(
        f"{provider.name} has no endpoint for the operation {wanted}",
        "Take another operation or provider, or give `endpoint`",
        ("operation",) if given.operation else ("provider",),
    )


def _filled(template: str, given: Given) -> str:
    model = (given.model or "model-1").replace(":", "%3A").replace("/", "%2F")
    values = {
        **{hole: _of_kind(hole, usual, given.model or "") for hole, usual in _USUAL_MODELS.items()},
        "model": given.model or "model-1",
        "deployment": given.model or "model-1",
        "bedrock_model": model,
        "location": given.region or "us-central1",
    }
    return _HOLE.sub(lambda hole: values.get(hole[1], "x1"), template)


_USUAL_MODELS = {"embedding_model": "text-embedding-005", "image_model": "imagen-4.0-generate-001"}


def _of_kind(hole: str, usual: str, model: str) -> str:
    """Return the model where an endpoint takes models of its kind, else one that it takes."""
    return model if re.fullmatch(HOLES[hole], model) else usual


def _host(provider: Provider, given: Given, catalogue: Catalogue) -> str:
    if given.host is None:
        return sample_host(provider.hosts[0], given.region)
    host = given.host.lower()
    try:
        whose = catalogue.provider(host)
    except HostError:
        whose = None
    if whose is not provider:
        raise Wrong(
            f"this is no host of {provider.name}", f"Its hosts are {', '.join(provider.hosts[:4])}", ("host",)
        )
    return host


def sample_host(pattern: str, region: str | None = None) -> str:
    """Return a host that a pattern of the catalogue matches."""
    named = re.sub(r"\{(?:region|location)\}", region or "us-east-1", pattern.replace("*.", "x.", 1))
    return _HOLE.sub("x", named)


# -- request -------------------------------------------------------------------------------------------


def _read(given: Given, provider: Provider, endpoint: Endpoint) -> tuple[Request, int]:
    """Let the endpoint's dialect read the body that is given."""
    body = json.dumps(given.body).encode()
    call = Call(provider.name, endpoint.operation, endpoint.model or given.model, endpoint.stream)
    if endpoint.model is None and given.body is not None and "model" in given.body:
        call = replace(call, model=None)
    try:
        return DIALECTS[endpoint.dialect].read_request(body, call), len(body)
    except WireError as error:
        what = f"the dialect {endpoint.dialect} cannot read this body ({error.reason})"
        raise Wrong(
            what, "Write it as the provider documents it, or give another endpoint", ("body",)
        ) from None


def _stated(given: Given, provider: Provider, endpoint: Endpoint) -> tuple[Request, int]:
    texts = _segments(given)
    answers = given.parameters.get("n", 1)
    answers = answers if type(answers) is int and answers > 0 else 1
    limit = given.parameters.get("max_output_tokens")
    parameters = tuple(Parameter(name, value, f"/{name}") for name, value in given.parameters.items())
    if given.stream and "stream" not in given.parameters:
        parameters = (*parameters, Parameter("stream", True, "/stream"))
    declared = tuple(_tools(given))
    request = Request(
        provider=provider.name,
        dialect=endpoint.dialect,
        operation=endpoint.operation,
        model=given.model if endpoint.model is None else endpoint.model,
        segments=texts,
        attachments=tuple(
            Attachment(f"/attachments/{n}", kind, None) for n, kind in enumerate(given.attachments)
        ),
        tools=tuple(tool.name for tool in declared),
        stream=given.stream or bool(endpoint.stream),
        max_output_tokens=limit * answers if type(limit) is int else None,
        previous="rehearsal" if given.continued else None,
        answers=answers,
        declared=declared,
        parameters=parameters,
        unset=tuple(
            (name, at)
            for name, at in _unset(provider.name, endpoint, given.model)
            if name not in given.parameters
        ),
    )
    return request, sum(len(s.text.encode("utf-8", "replace")) + 40 for s in texts) + 60


def _segments(given: Given) -> tuple[Segment, ...]:
    if given.text is not None:
        return (Segment("/messages/0/content", Surface.USER, given.text),)
    return tuple(
        Segment(f"/messages/{n}/content", message.surface, message.text)
        for n, message in enumerate(given.messages)
    )


def _tools(given: Given) -> Iterator[Tool]:
    yield from (Tool(name) for name in given.tools)
    yield from (Tool(name, ToolKind.HOSTED) for name in given.hosted_tools)
    yield from (Tool(f"server{n}", ToolKind.MCP, host) for n, host in enumerate(given.mcp_servers))


def _unset(provider: str, endpoint: Endpoint, model: str | None) -> tuple[tuple[str, str], ...]:
    """Return the settings that a dialect can put into a body without any, asked of the dialect itself."""
    call = Call(provider, endpoint.operation, endpoint.model, endpoint.stream)
    for body in _SMALL:
        named = body if endpoint.model is not None or model is None else {"model": model, **body}
        try:
            return DIALECTS[endpoint.dialect].read_request(json.dumps(named).encode(), call).unset
        except WireError:
            continue
    return ()


# -- caller --------------------------------------------------------------------------------------------


def _client(given: Given, headers: tuple[tuple[str, str], ...], directory: Directory) -> Client:
    certificate = given.certificate
    key = directory.key(given.key) if given.key is not None else None
    return Client(
        address=given.client,
        mode=given.connection,
        credential=given.key,
        credentials=(given.key,) if given.key is not None else (),
        key_form=KeyForm.GATEWAY if key is not None and key.kind is KeyKind.GATEWAY else KeyForm.PROVIDER,
        headers=headers,
        proxy_user=given.proxy_user,
        certificate=None
        if certificate is None
        else Certificate(
            "0" * 64, certificate.common_name, certificate.uris, certificate.names, certificate.emails
        ),
    )


def _headers(given: Given, policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return the given headers, and the tags in the headers that the policy and its tenants have for them."""
    found = {name.lower(): value for name, value in given.headers.items()}
    for access in _accesses(policy):
        if given.purpose is not None and access.purpose is not None:
            found[access.purpose.header.lower()] = given.purpose
        if given.consents and access.consents is not None:
            found[access.consents.header.lower()] = ", ".join(given.consents)
    return tuple(found.items())


def _accesses(policy: Policy) -> Iterator[Access]:
    for each in (policy, *policy.of_tenants.values()):
        yield each.access
        if each.tenant_access is not None:
            yield each.tenant_access


def _texts(headers: tuple[tuple[str, str], ...], policy: Policy, *, ahead: bool) -> Iterator[Segment]:
    """Yield the headers that leave: they are searched like any text. ahead: it is a preflight."""
    bounded = ahead and not policy.only_observes
    own = policy.identity.header_names.union(*(access.own_headers for access in _accesses(policy)))
    for place, (name, value) in enumerate(headers):
        if name not in own and (not bounded or name in HEADERS):
            yield Segment(f"{HEADER}{place}", Surface.DOCUMENT, f"{name}: {value}")
