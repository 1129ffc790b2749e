"""Calls about files and batches, as a user's program makes them with an official SDK.

call: as in sdks.py; filed: method and path of the endpoint, made: the id of what was made before.
"""

import io
import json
from typing import Any

type Call = dict[str, Any]


def with_openai(client: Any, call: Call) -> str:
    match call["filed"]:
        case "POST /v1/files":
            line = {"model": "model-lab", "messages": [{"role": "user", "content": call["text"]}]}
            asked = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": line}
            file = (f"{call['model']}.jsonl", json.dumps(asked).encode())
            return str(client.files.create(file=file, purpose="batch").id)
        case "GET /v1/files/{id}":
            return str(client.files.retrieve(call["made"]).id)
        case "POST /v1/batches":
            return str(
                client.batches.create(
                    input_file_id=call["made"],
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"note": call["text"]},
                ).id
            )
        case "GET /v1/batches/{id}":
            return str(client.batches.retrieve(call["made"]).status)
    lines = map(json.loads, client.files.content(call["made"]).text.splitlines())
    return "".join(line["response"]["body"]["choices"][0]["message"]["content"] for line in lines)


def with_anthropic(client: Any, call: Call) -> str:
    match call["filed"]:
        case "POST /v1/messages/batches":
            messages = [{"role": "user", "content": call["text"]}]
            params = {"model": call["model"], "max_tokens": 100, "messages": messages}
            return str(client.messages.batches.create(requests=[{"custom_id": "one", "params": params}]).id)
        case "GET /v1/messages/batches/{id}":
            return str(client.messages.batches.retrieve(call["made"]).processing_status)
        case "POST /v1/files":
            file = (f"{call['model']}.jsonl", json.dumps({"note": call["text"]}).encode(), "text/plain")
            return str(client.beta.files.upload(file=file).id)
    results = client.messages.batches.results(call["made"])
    return "".join(block.text for one in results for block in one.result.message.content)


def with_genai(client: Any, call: Call) -> str:
    match call["filed"]:
        case "POST /v1beta/models/{model}:batchGenerateContent":
            asked = [{"contents": [{"role": "user", "parts": [{"text": call["text"]}]}]}]
            return str(client.batches.create(model=call["model"], src=asked).name)
        case "POST /upload/v1beta/files":
            config = {"mime_type": "text/plain", "display_name": call["model"]}
            return str(client.files.upload(file=io.BytesIO(call["text"].encode()), config=config).name)
        case "GET /v1beta/files/{id}":
            return str(client.files.get(name=f"files/{call['made']}").state)
    told = client.batches.get(name=f"batches/{call['made']}").dest.inlined_responses
    return "".join(each.response.text for each in told)
