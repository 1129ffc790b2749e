"""Values that standards and manuals print as samples: known to everybody, so secret to nobody.

They are kept as digests, since every scanner of repositories would find them here.
"""

from hashlib import blake2b

_SIZE = 8


def is_published(value: str) -> bool:
    """Say whether a value is a sample that is printed, whole and as it is printed; padding may be left out."""
    return digest(value) in _PUBLISHED


def digest(value: str) -> str:
    """Return by what a value is known in the list."""
    return blake2b(value.rstrip("=").encode("utf-8", "replace"), digest_size=_SIZE).hexdigest()


_PUBLISHED = frozenset(
    [
        # RFC 6749, 6750, 7636, 7515: OAuth, PKCE, JWS
        "e6d1b65208cb54f6",
        "9a119b06a213486f",
        "d8c462af6f52aa71",
        "11c38988238e0512",
        "cd5b49fcc80a6e3d",
        "fc9f94683b968d58",
        "4db32671d1f03fd7",
        "c2945bcd936cf1d3",
        "df380581d518fcab",
        "f58ddb4b81ed1ff4",
        "d54b4d9e031be390",
        "bc80ed55f3789add",
        # RFC 7617, 6455: Basic, WebSocket
        "90bf6cb1058856db",
        "f3cc1935c5262580",
        "427fd3af1c1482a9",
        "bbaba96f5410bf9f",
        "6e2c631739468465",
        "49327cccd940eee9",
        # RFC 5849: OAuth 1.0; Twitter's guide to signing; oauthlib
        "bf8bfbf6c62533dc",
        "eb764dd303d29e47",
        "b3b1b085bcd9fd99",
        "81ebb7bf259aa1f9",
        "6eb9aafb1f177f7c",
        "2893bbb23f2ed79f",
        "8c5321fdc8fcf422",
        "5ccf5a9d7a9ab802",
        "200274c5448cf317",
        "2e49195fef5ab2e4",
        "30beb6f58ac030dd",
        "cf19d23bdc4c1968",
        "ab0cee5fa03c17fc",
        "6a9b75c405cbfd93",
        # RFC 4226 and 6238, Google Authenticator: seeds of one-time codes
        "97ce4ce6b9406644",
        "5424f992a340c225",
        "29046caa9f097042",
        "d190e937afdf90a8",
        # emulators of Azure: storage, Cosmos DB
        "a0cd0c6c4376db1a",
        "cd05f3a17b7cf062",
        # manuals of Stripe, GitHub
        "826e0fd9a88ef5e1",
        "2e12236193731ba6",
        "f8c661bbd238e78b",
        "368472f17bf34eb7",
        "c87e7d0454b975d9",
        "797efb586569f544",
        # FastAPI's tutorial; the first account of Hardhat and Anvil
        "27029c10a6fd2548",
        "01f64466a8b3e86f",
        "1bfe1fd792036b20",
    ]
)
