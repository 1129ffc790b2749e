"""AWS's hosts that speak another provider's API: signatures are checked, then that provider's stand-in answers."""

import re
from dataclasses import replace

from sallyport.lab import anthropic, bedrock, openai
from sallyport.lab.awsauth import trouble_with
from sallyport.lab.values import Incoming, Reply

_HOST = re.compile(
    r"(?P<service>bedrock-mantle|aws-external-anthropic|bedrock-runtime)(?:-fips)?\.[a-z0-9-]+\."
    r"(?:api\.aws|amazonaws\.com)"
)
_SIGNED_AS = {"bedrock-runtime": "bedrock"}


def is_mine(request: Incoming) -> bool:
    return _HOST.fullmatch(request.host) is not None and not request.path.startswith("/model/")


def model_of(request: Incoming) -> str:
    return openai.model_of(request)


def answer(request: Incoming) -> Reply:
    """Answer a request that is signed, or carries a key."""
    found = _HOST.fullmatch(request.host)
    assert found is not None
    service = _SIGNED_AS.get(found["service"], found["service"])
    if "x-api-key" not in request.headers and (trouble := trouble_with(request, service)):
        return bedrock.error(403, trouble, "The security token or the signature of the request is not valid.")
    if "/messages" in request.path:
        return anthropic.answer(replace(request, headers={**request.headers, "x-api-key": "checked"}))
    return openai.answer(replace(request, headers={**request.headers, "authorization": "Bearer checked"}))
