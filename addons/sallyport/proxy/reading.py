"""The body of a request: whether it came sound, and what its dialect reads in it."""

from dataclasses import replace

from mitmproxy import http

from sallyport.decision import Decision
from sallyport.exchange import Operation, Segment, Surface
from sallyport.proxy import intake, stream
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.passage import Passage
from sallyport.stages.places import TARGET
from sallyport.wire.dialect import Call
from sallyport.wire.errors import WireError


def unsound_body(flow: http.HTTPFlow) -> Decision | None:
    """Return why a body is refused before it is read, None if nothing speaks against it."""
    if flow.metadata.get(stream.TOO_LARGE):
        return intake.TOO_LARGE
    if flow.metadata.get(stream.BUSY):
        return intake.refuse("busy", "The gateway holds as many large requests as it can. Try again.", 503)
    if gate.revoked(flow):
        return intake.refuse("hook_failed", "A part of the gateway failed on this request.", 503)
    if flow.request.trailers:
        return intake.refuse(
            "trailers", "The gateway forwards no trailers (behind the body). Leave them out."
        )
    return None


def read_body(gateway: Gateway, flow: http.HTTPFlow, passage: Passage) -> bytes:
    """Decode and read the body into passage.exchange; on failure passage.refused says why."""
    assert passage.provider is not None
    assert passage.target is not None
    endpoint = passage.target.endpoint
    call = Call(
        provider=passage.provider.name,
        operation=endpoint.operation,
        model=endpoint.model,
        stream=endpoint.stream,
        content_type=flow.request.headers.get("content-type", ""),
    )
    limit = passage.live.policy.transport.max_request_bytes
    if len(flow.request.raw_content or b"") > limit:
        passage.refused = intake.TOO_LARGE  # the core holds more where nothing is enforced
        return b""
    try:
        body = intake.decoded_body(flow.request, limit)
        request = passage.dialect.read_request(body, call)
    except WireError as error:
        passage.refused = intake.unreadable(error)
        return b""
    headers = intake.scanned_headers(flow.request, passage.provider.credentials)
    extra = intake.extra_segments(headers, endpoint, passage.live.identity_headers)
    model = request.model
    if passage.live.shown_model(model) != (model or "") and all(s.text != model for s in request.segments):
        # It looked like a model's name to the dialect, but a rule knows it for something else.
        extra += (Segment(f"{TARGET}model", Surface.DOCUMENT, model or ""),)
    request = replace(
        request,
        region=passage.live.region(passage.provider, passage.host, endpoint, model),
        endpoint=f"{endpoint.method} {endpoint.template}".strip(),
    )
    if request.previous is None and request.operation in (Operation.FILE, Operation.BATCH):
        # What a file or a job holds belongs to the conversation that made it.
        request = replace(request, previous=dict(endpoint.captured).get("id"))
    conversation = gateway.conversation(request)
    makers = gateway.makers(request)
    request = gateway.unseen_of(request, conversation)
    request = replace(request, kept_tokens=gateway.kept_tokens(request), makers=makers)
    if extra:
        request = replace(request, segments=request.segments + extra)
    passage.exchange = replace(passage.exchange, request=request, conversation=conversation)
    return body
