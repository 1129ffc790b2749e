"""Files, batches, images, speech: what is text in them is masked and comes back; the rest goes by policy, and is counted."""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types as gemini_types

import rawclient
from e2e.traffic import assert_clean, assert_sound, eventually, of_kind, running, settled
from gateways import GatewayProcess, lab_in_thread
from proxy.door import h2_say
from sallyport.audit.classes import Coverage
from sallyport.audit.coverage import together
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.store import Store
from sallyport.lab.files import PNG, SOUND
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab

POLICY = """
version: 1
identity:
  unknown: anonymous
  header: {name: X-User, trusted_peers: [127.0.0.1/32, "::1/128"]}
access:
  unknown_endpoint: opaque
  operations: [chat, embedding, list_models, file, batch, image, audio, opaque]
  attachments:
    allow: [image/*]
    max_bytes: 500
    rules:
      - {operations: [batch], media: [application/x-file-reference], action: allow}
      - {operations: [audio], media: [audio/*], action: allow, max_bytes: 1000}
      - {operations: [file], media: [application/pdf], action: refuse}
      - {operations: [file], media: [application/json, application/octet-stream, text/plain], action: allow}
  rules:
    - {id: no-opaque, effect: forbid, when: "request.operation == 'opaque' && principal.id == 'barred'", message: Not you.}
masking: {entities: {URL: allow, PERSON: allow, LOCATION: allow}}
"""
MAIL = "odile.brandt@example.org"
SCRIPT = f"Odile writes from {MAIL} every day."


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("uploads")
    to = dict.fromkeys(("api.x.ai", "api2.cursor.sh", "chatgpt.com"), lab.port)
    with running(folder, lab, policy=POLICY, to=to) as started:
        yield started
        events = settled(started.confdir, 30)
        assert_sound(events)
        assert_ledger(started, events)
    assert_clean(started, MAIL)


def assert_ledger(gateway: GatewayProcess, events: list[Event]) -> None:
    """The classes of the store sum to the exchanges there were, and to the connections that never became one."""
    ends = [e for e in events if e.kind in END_KINDS]
    loose = [e for e in events if not e.exchange and e.coverage is not None]
    store = Store.open(gateway.confdir / "audit.db", create=False)
    try:
        found = together(store.coverage())
    finally:
        store.close()
    assert found.unclassified == 0
    assert +Counter(dict(found.counts)) == Counter(e.coverage for e in (*ends, *loose))


@pytest.fixture(autouse=True)
def environment(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, gateway.env[name])


def client(user: str = "ann") -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0, default_headers={"X-User": user})


def claude() -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key="sk-ant-test-EXAMPLE", max_retries=0, default_headers={"X-User": "ann"}
    )


def last(lab: Lab, path: str) -> SeenRequest:
    return [r for r in lab.requests if r.path.startswith(path)][-1]


def last_end(gateway: GatewayProcess, endpoint: str) -> Event:
    """Return the end of the last exchange with an endpoint, which may be recorded a moment after the answer."""
    found: list[Event] = []

    def there() -> bool:
        events = settled(gateway.confdir, 30)
        found[:] = [e for e in events if e.kind in END_KINDS and e.endpoint == endpoint]
        return bool(found)

    eventually(there, 30, f"an end of {endpoint}")
    return found[-1]


# -- files and batches ---------------------------------------------------------------------------------


def test_a_text_file_leaves_masked_and_comes_back_to_who_sent_it_alone(
    gateway: GatewayProcess, lab: Lab
) -> None:
    put = client().files.create(file=("notes.txt", SCRIPT.encode()), purpose="user_data")
    kept = last(lab, "/v1/files").body
    assert MAIL.encode() not in kept
    assert b"<EMAIL_ADDRESS_" in kept
    assert client().files.content(put.id).text == SCRIPT
    assert MAIL not in client("bob").files.content(put.id).text
    assert client().files.content(put.id).text == SCRIPT
    assert last_end(gateway, "/v1/files").coverage is Coverage.PARSED
    assert client().files.delete(put.id).deleted


def test_a_form_as_dotnet_writes_it_leaves_masked_with_all_else_as_it_was(
    gateway: GatewayProcess, lab: Lab
) -> None:
    """No quotes where none are needed, and the filename said twice; no SDK that is installed here writes so."""
    form = (
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=purpose\r\n\r\n"
        "user_data\r\n--b\r\nContent-Disposition: form-data; name=file; filename={0}; filename*=utf-8''{1}\r\n\r\n"
        "{2}\r\n--b--\r\n"
    )
    headers = {"content-type": 'multipart/form-data; boundary="b"', "authorization": "Bearer sk-test-EXAMPLE"}
    for plain, again in (("notes.txt", "notes.txt"), (f'"{MAIL}.txt"', f"{MAIL.replace('@', '%40')}.txt")):
        body = form.format(plain, again, SCRIPT).encode()
        answer = httpx.post(
            "https://api.openai.com/v1/files", content=body, headers=headers | {"x-user": "ann"}
        )
        assert answer.status_code == 200, answer.text
        kept = last(lab, "/v1/files").body.decode()
        mask = re.search("<EMAIL_ADDRESS_[^>]*>", kept)
        assert mask is not None
        changed = [part.replace(MAIL, mask[0]) for part in (plain, again.replace("%40", "@"), SCRIPT)]
        changed[1] = changed[1].replace("<", "%3C").replace(">", "%3E")
        assert kept == form.format(*changed)


def test_a_form_that_says_the_length_of_its_parts_leaves_with_the_new_ones(
    gateway: GatewayProcess, lab: Lab
) -> None:
    """As OkHttp 4, Spring and PHP's builders of forms write it; Apache's says that nothing is encoded."""
    part = 'Content-Disposition: form-data; name="file"; filename="notes.txt"\r\nContent-Type: text/plain\r\n'
    more = "Content-Transfer-Encoding: binary\r\nContent-Length: {}\r\n\r\n{}"
    purpose = 'Content-Disposition: form-data; name="purpose"\r\nContent-Length: 9\r\n\r\nuser_data'
    form = f"--b\r\n{purpose}\r\n--b\r\n{part}{more}\r\n--b--\r\n"
    answer = httpx.post(
        "https://api.openai.com/v1/files",
        content=form.format(len(SCRIPT.encode()), SCRIPT).encode(),
        headers={
            "content-type": "multipart/form-data; boundary=b",
            "authorization": "Bearer sk-test-EXAMPLE",
            "x-user": "ann",
        },
    )
    assert answer.status_code == 200, answer.text
    kept = last(lab, "/v1/files").body.decode()
    mask = re.search("<EMAIL_ADDRESS_[^>]*>", kept)
    assert mask is not None
    masked = SCRIPT.replace(MAIL, mask[0])
    assert kept == form.format(len(masked.encode()), masked)
    assert len(masked) != len(SCRIPT)


def test_a_batch_is_masked_line_by_line_and_its_results_are_restored(
    gateway: GatewayProcess, lab: Lab
) -> None:
    lines = [
        {
            "custom_id": f"row-{name}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "echo", "messages": [{"role": "user", "content": f"{name}: {SCRIPT}"}]},
        }
        for name in ("first", "second")
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    put = client().files.create(file=("in.jsonl", data), purpose="batch")
    assert MAIL.encode() not in last(lab, "/v1/files").body
    batch = client().batches.create(
        input_file_id=put.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    again = client().batches.retrieve(batch.id)
    assert again.output_file_id is not None
    told = [json.loads(line) for line in client().files.content(again.output_file_id).text.splitlines()]
    said = [t["response"]["body"]["choices"][0]["message"]["content"] for t in told]
    assert said == [f"You wrote: {name}: {SCRIPT}" for name in ("first", "second")]
    assert MAIL not in client("bob").files.content(again.output_file_id).text
    end = last_end(gateway, "/v1/batches")
    assert (end.coverage, end.unread) == (
        Coverage.PARSED_IN_PART,
        "attachment.application/x-file-reference",
    )


def test_anthropics_batches_and_files_too(gateway: GatewayProcess, lab: Lab) -> None:
    params: Any = {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": SCRIPT}]}
    made = claude().messages.batches.create(requests=[{"custom_id": "one", "params": params}])
    assert MAIL.encode() not in last(lab, "/v1/messages/batches").body
    (result,) = claude().messages.batches.results(made.id)
    assert result.result.type == "succeeded"
    (block,) = result.result.message.content
    assert block.type == "text"
    assert block.text == f"You wrote: {SCRIPT}"
    put = claude().beta.files.upload(file=("notes.txt", SCRIPT.encode(), "text/plain"))
    assert MAIL.encode() not in last(lab, "/v1/files").body
    assert claude().beta.files.download(put.id).text() == SCRIPT


def test_a_type_or_size_the_policy_does_not_allow_is_refused_in_the_sdks_own_error(lab: Lab) -> None:
    seen = len(lab.requests)
    with pytest.raises(openai.PermissionDeniedError, match="cannot read"):
        client().files.create(file=("a.pdf", b"%PDF-1.7\n\xff\xfe", "application/pdf"), purpose="user_data")
    with pytest.raises(openai.PermissionDeniedError, match="larger"):
        client().images.edit(model="gpt-image-1", image=("a.png", PNG * 20, "image/png"), prompt="Brighter.")
    with pytest.raises(anthropic.PermissionDeniedError, match="cannot read"):
        claude().beta.files.upload(file=("a.pdf", b"%PDF-1.7\n\xff\xfe", "application/pdf"))
    assert len(lab.requests) == seen


def test_gemini_files_are_judged_by_their_type_and_never_read(gateway: GatewayProcess, lab: Lab) -> None:
    user = gemini_types.HttpOptions(headers={"X-User": "ann"})
    gemini = genai.Client(api_key="AIza-test-EXAMPLE", http_options=user)
    config = gemini_types.UploadFileConfig(mime_type="text/plain", display_name="notes")
    put = gemini.files.upload(file=io.BytesIO(b"nothing of anybody"), config=config)
    assert put.name is not None
    assert gemini.files.get(name=put.name).state == gemini_types.FileState.ACTIVE
    ends = [e for e in settled(gateway.confdir, 30) if e.kind in END_KINDS and e.provider == "gemini"]
    assert [e.endpoint for e in ends] == ["/upload/v1/files", "/upload/v1beta/files", "/v1/files/{id}"]
    assert [e.coverage for e in ends] == [Coverage.OPAQUE, Coverage.OPAQUE, Coverage.PARSED]
    assert {e.unread for e in ends[:2]} == {"body.application/json"}


# -- images, speech, embeddings ------------------------------------------------------------------------


def test_prompts_of_images_are_masked_and_what_is_seen_and_heard_goes_by_policy(
    gateway: GatewayProcess, lab: Lab
) -> None:
    drawn = client().images.generate(model="gpt-image-1", prompt=SCRIPT)
    assert MAIL.encode() not in last(lab, "/v1/images/generations").body
    assert drawn.data is not None
    assert drawn.data[0].revised_prompt == f"A picture of: {SCRIPT}"
    assert base64.b64decode(drawn.data[0].b64_json or "") == PNG
    end = last_end(gateway, "/v1/images/generations")
    assert (end.coverage, end.unread) == (Coverage.PARSED_IN_PART, "answer.application/octet-stream")
    edited = client().images.edit(model="gpt-image-1", image=("a.png", PNG, "image/png"), prompt=SCRIPT)
    assert edited.data is not None
    assert edited.data[0].revised_prompt == f"A picture of: {SCRIPT}"
    unread = "attachment.image/png answer.application/octet-stream"
    assert last_end(gateway, "/v1/images/edits").unread == unread


def test_speech_is_made_of_masked_text_and_heard_by_policy(gateway: GatewayProcess, lab: Lab) -> None:
    spoken = client().audio.speech.create(model="tts-1", voice="alloy", input=SCRIPT)
    assert spoken.content == SOUND
    assert MAIL.encode() not in last(lab, "/v1/audio/speech").body
    heard = client().audio.transcriptions.create(
        model="whisper-1", file=("a.wav", b"RIFF\x00\xff" * 20, "audio/wav"), prompt=SCRIPT
    )
    assert heard.text == f"Somebody said: {SCRIPT}"
    assert MAIL.encode() not in last(lab, "/v1/audio/transcriptions").body
    assert last_end(gateway, "/v1/audio/transcriptions").unread == "attachment.audio/wav"


def test_text_of_an_embedding_is_masked(gateway: GatewayProcess, lab: Lab) -> None:
    client().embeddings.create(model="text-embedding-lab", input=[SCRIPT, "plain"])
    assert MAIL.encode() not in last(lab, "/v1/embeddings").body
    assert last_end(gateway, "/v1/embeddings").coverage is Coverage.PARSED


def test_a_file_inside_a_message_is_masked_in_its_base64(lab: Lab) -> None:
    data = "data:text/plain;base64," + base64.b64encode(SCRIPT.encode()).decode()
    content: Any = [
        {"type": "text", "text": "Read."},
        {"type": "file", "file": {"filename": "n.txt", "file_data": data}},
    ]
    client().chat.completions.create(model="echo", messages=[{"role": "user", "content": content}])
    sent = json.loads(last(lab, "/v1/chat/completions").body)
    held = sent["messages"][0]["content"][1]["file"]["file_data"]
    assert held.startswith("data:text/plain;base64,")
    read = base64.b64decode(held.partition(",")[2]).decode()
    assert MAIL not in read
    assert read.startswith("Odile writes from <EMAIL_ADDRESS_")


# -- what nobody reads ---------------------------------------------------------------------------------

GRPC_MESSAGE = b"\x00\x00\x00\x00\x0c" + b"\x0a\x0aprompttext"
STRANGERS = {
    "gRPC": ("api.x.ai", "/xai_api.Chat/GetCompletion", "application/grpc"),
    "protobuf": ("api.openai.com", "/v9/predict", "application/x-protobuf"),
    "a coding assistant": (
        "api2.cursor.sh",
        "/aiserver.v1.ChatService/StreamUnifiedChat",
        "application/connect+proto",
    ),
    "a web app": ("chatgpt.com", "/backend-api/f/conversation", "application/json"),
}


def send(gateway: GatewayProcess, kind: str, user: str) -> int:
    """Send a stranger's call over HTTP/2, as their programs do; return the status."""
    host, path, content_type = STRANGERS[kind]
    body = b'{"messages":[]}' if content_type.endswith("json") else GRPC_MESSAGE
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":authority": host,
        ":path": path,
        "content-type": content_type,
        "te": "trailers",
        "x-user": user,
        "authorization": "Bearer xai-test-EXAMPLE",
    }
    sock = rawclient.tls(rawclient.tunnel(gateway.port, host), host, gateway.confdir / "ca-cert.pem", ["h2"])
    assert sock.selected_alpn_protocol() == "h2"
    return h2_say(sock, [(k.encode(), v.encode()) for k, v in fields.items()], body, wait_s=30).status


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_no_dialect_reads_is_counted_opaque_where_the_policy_lets_it_pass(
    gateway: GatewayProcess, lab: Lab, kind: str
) -> None:
    host, path, content_type = STRANGERS[kind]
    seen = len(lab.requests)
    assert send(gateway, kind, "ann") > 0
    assert (len(lab.requests), lab.requests[-1].path) == (seen + 1, path)
    ends = [e for e in settled(gateway.confdir, 30) if e.kind in END_KINDS and e.host == host]
    assert ends[-1].coverage is Coverage.OPAQUE
    assert (ends[-1].content_type, ends[-1].endpoint) == (content_type, "(unknown)")
    assert ends[-1].unread == "endpoint.unknown_path"


@pytest.mark.parametrize("kind", STRANGERS)
def test_and_denied_where_it_does_not(gateway: GatewayProcess, lab: Lab, kind: str) -> None:
    host = STRANGERS[kind][0]
    seen = len(lab.requests)
    assert send(gateway, kind, "barred") == 403
    assert len(lab.requests) == seen

    def refused() -> list[Event]:
        events = of_kind(settled(gateway.confdir, 30), EventKind.REFUSED)
        return [e for e in events if (e.host, e.principal) == (host, "barred")]

    eventually(refused, 30, "the refusal is recorded")
    assert {(e.coverage, e.reason) for e in refused()} == {(Coverage.DENIED, "access.no-opaque")}


def test_where_people_sign_in_is_tunnelled_and_counted(gateway: GatewayProcess) -> None:
    with pytest.raises(httpx.HTTPError), httpx.Client(proxy=gateway.env["HTTPS_PROXY"], timeout=10) as web:
        web.get("https://auth.openai.com/")

    def counted() -> list[Event]:
        tunnels = of_kind(settled(gateway.confdir, 30), EventKind.TUNNELLED)
        return [e for e in tunnels if e.host == "auth.openai.com"]

    eventually(counted, 30, "the tunnel is recorded")
    assert {(e.coverage, e.unread) for e in counted()} == {(Coverage.TUNNELLED, "sign_in")}


def test_what_was_uploaded_lies_nowhere_in_the_folder_of_the_gateway(gateway: GatewayProcess) -> None:
    client().files.create(file=("again.txt", SCRIPT.encode()), purpose="user_data")
    assert_clean(gateway, MAIL)
