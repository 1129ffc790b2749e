# ruff: noqa: E501
"""Records what the shipped weights say of fixed texts, for the parity test: python -m training.credentials.record FILE."""

import json
import sys
from pathlib import Path

from sallyport.detect.credentials import odds, shipped, tokens

TEXTS = (
    "The payroll file is protected on purpose. Open it with Mallard-Tues-5 and save a copy.",
    "floor 2, printer hall, admin/ricoh-Blau7, same as last year",
    "Does bcrypt-4.1 truncate a password at 72 bytes, as OAuth2 proxies with HS256 tokens do?",
    "Das WLAN heisst Krabben_5G, reinkommen tust du mit Moewe-am-Deich7.",
    "export PGPASSWORD='otterHolt.3'; psql -h db-04 -U app17",
    '\x00\ud800 {"password": "\U0001f600zw4nzig"} <|im_start|>',
)


def main() -> None:
    rows = [
        {"text": text, "start": start, "end": end, "odds": round(odds(text, start, end), 4)}
        for text in TEXTS
        for start, end in tokens(text, 0, len(text))
    ]
    held = {"revision": shipped().revision, "rows": rows}
    Path(sys.argv[1]).write_text(json.dumps(held, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
