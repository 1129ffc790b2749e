"""What the tests of AWS's clients share: one gateway's credentials, and every call an SDK can make of Bedrock."""

import json
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.client import Config

from e2e.identity.keyring import Office
from e2e.traffic import eventually, recorded
from gateways import GatewayProcess
from sallyport.lab.awsauth import secret_of
from sallyport.lab.record import SeenRequest

REGION = "us-east-1"
HOST = f"bedrock-runtime.{REGION}.amazonaws.com"
MANTLE, EXTERNAL = f"bedrock-mantle.{REGION}.api.aws", f"aws-external-anthropic.{REGION}.api.aws"
MAIL = "marta.quill@example.com"
OWN = "AKIA" + "CLIENT" * 3
HELD = "ASIA" + "GATEWAY" * 3


@dataclass
class Cloud:
    """A gateway that holds credentials of AWS, and what it holds."""

    gateway: GatewayProcess
    office: Office
    bearer: str

    def sdk(self, who: str = "", known: str = OWN, secret: str = "", attempts: int = 3) -> Any:
        """Return boto3's client as its user configures it. who: named to the gateway behind the signature."""
        made = boto3.client(
            "bedrock-runtime",
            region_name=REGION,
            aws_access_key_id=known,
            aws_secret_access_key=secret or secret_of(known),
            verify=str(self.gateway.confdir / "ca-cert.pem"),
            config=Config(
                proxies={"https": f"http://127.0.0.1:{self.gateway.port}"},
                read_timeout=30,
                retries={"total_max_attempts": attempts},
            ),
        )
        if who:
            made.meta.events.register(
                "before-send.*", lambda request, **_: request.headers.update({"X-User": who})
            )
        return made


def turn(text: str) -> list[Any]:
    return [{"role": "user", "content": [{"text": text}]}]


def converse(sdk: Any, model: str, text: str) -> str:
    return str(sdk.converse(modelId=model, messages=turn(text))["output"]["message"]["content"][-1]["text"])


def converse_stream(sdk: Any, model: str, text: str) -> str:
    events = sdk.converse_stream(modelId=model, messages=turn(text))["stream"]
    return "".join(e.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for e in events)


BODIES = {
    "claude": lambda text: {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": [{"role": "user", "content": text}]},
    "titan": lambda text: {"inputText": text, "textGenerationConfig": {"maxTokenCount": 99}},
    "llama": lambda text: {"prompt": text, "max_gen_len": 99},
}  # fmt: skip


def said_by(value: Any) -> str:
    if isinstance(value, str):
        return value
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "".join(map(said_by, held))


def invoke(family: str) -> Any:
    def call(sdk: Any, model: str, text: str) -> str:
        answer = sdk.invoke_model(modelId=model, body=json.dumps(BODIES[family](text)))
        return said_by(json.loads(answer["body"].read()))

    return call


def invoke_stream(family: str) -> Any:
    def call(sdk: Any, model: str, text: str) -> str:
        body = sdk.invoke_model_with_response_stream(modelId=model, body=json.dumps(BODIES[family](text)))[
            "body"
        ]
        return "".join(said_by(json.loads(event["chunk"]["bytes"])) for event in body)

    return call


CALLS = {
    "converse": converse,
    "converse_stream": converse_stream,
    **{f"invoke_{family}": invoke(family) for family in BODIES},
    **{f"invoke_stream_{family}": invoke_stream(family) for family in BODIES},
}


def reasons(cloud: Cloud, model: str, count: int = 1) -> list[str]:
    """Return why the calls of a model were refused, once there are as many."""

    def found() -> list[str]:
        return [e.reason for e in recorded(cloud.gateway.confdir) if e.model == model]

    eventually(lambda: len(found()) >= count, 30, f"{count} refusals")
    return found()


def key_in(request: SeenRequest) -> str:
    return (request.header("authorization") or "").partition("Credential=")[2].partition("/")[0]
