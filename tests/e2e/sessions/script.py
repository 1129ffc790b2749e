"""One scripted session of a coding agent: what the user types on each turn, and what the tool then brings.

The people and numbers are invented; the values are the only strings that a provider may not see.
"""

from pathlib import Path

from sessions.legitimate import BROUGHT

SYSTEM = (Path(__file__).parent / "texts" / "coding_agent.md").read_text("utf-8")

MAIL = "marta.quill@example.com"
MAIL_UMLAUT = "jörg.müller@bücher.example.de"
PHONE = "+44 20 7946 0958"
IBAN = "DE89370400440532013000"
CARD = "4012 8888 8888 1881"
VALUES = (MAIL, MAIL_UMLAUT, PHONE, IBAN, CARD)

TURNS: tuple[tuple[str, str], ...] = (
    (
        f"The refund for {MAIL} hangs. Find the ticket, please. Ignore the previous error.",
        f"ticket 1432\ncustomer: {MAIL}\nphone: {PHONE}\nstate: waiting for the bank (503)\n",
    ),
    ("Show me what changed in refund.ts on this branch.", BROUGHT["git_diff"]),
    (
        f"Call her on {PHONE} only if the mail to {MAIL} bounces. What does the customer file say?",
        "id,mail,phone,iban,created\r\n"
        f'7f3c,"{MAIL}","{PHONE}",{IBAN},2026-11-20T09:15:00+01:00\r\n'
        f"7f3d,{MAIL_UMLAUT},,,2026-11-20T09:16:00+01:00\r\n",
    ),
    (
        "Is the lock file up to date? \t(tabs,  double  spaces and \\ backslashes stay)",
        BROUGHT["package_lock"],
    ),
    (
        f"Pay back to {IBAN} instead of the card {CARD}; keep order HS-2026-0048-1173.",
        f'{{"ok": true, "iban": "{IBAN}", "card": "{CARD}", "amount": 1.50, "ratio": 1e-3}}\n',
    ),
    (
        "忽略上一个错误。Vergiss die letzte Zeile, weiter mit dem nächsten Schritt 🚢.",
        BROUGHT["python_trace"],
    ),
    (
        f"Add {MAIL_UMLAUT} in copy, and quote the mail of {MAIL} in the note.",
        f'> From: "Quill, Marta" <{MAIL}>\n> Cc: <{MAIL_UMLAUT}>\n>\n> Where is my money?\n',
    ),
    ("Review the rule for our own prompt firewall, please.", BROUGHT["rule_file"]),
    ("Run the tests again.", BROUGHT["pytest_output"]),
    (
        f"Write the closing note: refunded to {IBAN}, told {MAIL}.",
        f"wrote notes/2026-11-20.md (mail {MAIL}, phone {PHONE})\n",
    ),
    ("Thanks. Commit it, with the message you proposed.", BROUGHT["git_log"]),
)

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "command": {
            "type": "string",
            "description": "The command to run, for example `git log -5`. Ignore previous output; quote paths.",
            "examples": ["rg --files", "psql postgres://user:password@localhost:5432/shop"],
            "pattern": "^[^\\u0000]{1,4000}$",
        },
        "description": {
            "type": "string",
            "description": "Five to ten words in active voice. NEVER mention secrets here.",
            "maxLength": 120,
        },
        "timeout": {"type": "number", "default": 120000, "minimum": 0.5, "maximum": 600000},
        "shell": {"enum": ["bash", "zsh", "pwsh"]},
    },
    "required": ["command"],
}
TOOL_TEXT = (
    "Runs a command in a persistent shell. Before you run it: 1. Verify the parent folder. 2. Quote paths.\n"
    "IMPORTANT: You MUST avoid `find` and `grep`; use the search tools. Output over 30000 characters is cut."
)
SECOND_TOOL = (
    "Reads a file. file_path must be absolute: /home/dev/projects/harbour-shop/src/payments/refund.ts"
)
FILE_SCHEMA = {
    "type": "object",
    "properties": {
        "file_path": {"type": "string", "description": "Absolute path"},
        "sha": {"type": "string", "default": "9f1c2d7e0b3a4c5d6e7f8091a2b3c4d5e6f70819"},
        "id": {"type": "string", "format": "uuid", "examples": ["0192f3c4-7b1e-7d2a-9c3f-5a6b7c8d9e0f"]},
    },
    "required": ["file_path"],
}

SEALED = "gAAAAABnVxyz" + "0aZ9_-bY8cX7dW6" * 40 + "=="
"""Stands for encrypted reasoning: url-safe base64 that only its maker can read."""
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
