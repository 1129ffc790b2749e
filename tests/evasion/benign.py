"""What looks like a trick and is honest: it must arrive byte for byte."""

import base64
import hashlib
import json
import random
import struct
import zlib
from collections.abc import Iterator

from evasion.carriers import CHAT, HELLO, OPENAI, Call, chat, dump, user

_PROSE = {
    "persian": "می‌خواهم این کتاب‌ها را بخوانم و درباره‌ی آن‌ها بنویسم.",
    "hebrew-bidi": "המחיר הוא \u202a12 USD\u202c בלבד, \u2067שלום\u2069.",
    "arabic-digits": "الصفحة ٤٢ من الكتاب، الفصل ٣.",
    "arabic-marks": "السَّلامُ عَلَيْكُم",
    "hindi": "मैं हिन्दी में लिख रहा हूँ, अध्याय ३।",
    "hindi-joiners": "क्‍ष और क्‌ष अलग दिखते हैं।",
    "thai": "ฉันกำลังเขียนเอกสารเกี่ยวกับระบบ หน้า ๑๒",
    "japanese-fullwidth": "ＡＰＩの使い方　第３章　「ＧＥＴ」を参照。",
    "chinese-fullwidth": "请看第１２章（第３节），价格为１００元。",
    "korean": "안녕하세요, 문서를 요약해 주세요. \u3164",
    "vietnamese": "Tôi đang viết tài liệu về hệ thống này.",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "french": "L’été dernier, j’ai été à Nîmes\u00a0: c’était très agréable\u202f!",
    "german": "Die Größe beträgt 12\u00a0cm – das genügt für die Straße.",
    "greek": "Η ταχύτητα v είναι ίση με την απόσταση δια του χρόνου.",
    "russian": "Пожалуйста, объясни, как работает этот алгоритм сортировки.",
    "decomposed": "Cafe\u0301 re\u0301sume\u0301 nai\u0308ve",
    "flags": "Matches: \U0001f1e9\U0001f1ea - \U0001f1eb\U0001f1f7 2:1, \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f - "
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 1:1",
    "emoji": "Great \U0001f469\u200d\U0001f4bb\U0001f44d\U0001f3fd \u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3 2\ufe0f\u20e3 3\ufe0f\u20e3",
    "mathematics": "Let 𝑓 ∈ 𝒞¹(ℝ) with ∫₀¹ 𝑓(𝑥) d𝑥 = ½ and 𝐱ᵀ𝐀𝐱 ≥ 0 for all 𝐱 ∈ ℝⁿ.",
    "units": "5 µm, 3 Å, 10 ℃, ½ cup, 2³ = 8, x₁ + x₂, № 5, ™, ﬁnal",
    "soft-hyphens": "Donau\u00addampf\u00adschiff\u00adfahrt",
    "variants": "葛\U000e0100飾区 and 辻\U000e0101",
    "quotes": "„So“, sagte er, ‚nicht‘ — «jamais» … “done”.",
    "mongolian": "ᠮᠣᠩᠭᠣᠯ\u180e ᠪᠢᠴᠢᠭ",
    "kaomoji": "( ͡° ͜ʖ ͡°) ¯\\_(ツ)_/¯ ಠ_ಠ",
    "music": "♩ ♪ ♫ \U0001d11e C♯ minor",
    "box": "┌──┬──┐\n│ a│ b│\n└──┴──┘",
    "leet": "The h4x0r wrote n00b c0de in 1337 style.",
    "spaced-heading": "C H A P T E R   O N E\nIt was a dark night.",
    "acronym": "U.S.A. and E.U. signed the N.A.T.O. paper.",
    "rot13-talk": "What does 'uryyb jbeyq' mean in rot13?",
}
_CODE = {
    "python": "def read(self, size=4096):\n    data = self.buffer[:size]\n    return data or b'\\x00' * 4\n",
    "minified": "!function(e,t){var n=e.r(4),o=t.q;for(var i=0;i<n.length;i++)o[i]=n[i]^0x5f}(a,b);var _0x3f2a=['push','shift'];",
    "entities": "<p>Tom &amp; Jerry &mdash; 5 &lt; 6 &nbsp; &#169; 2024 &#x1F600;</p>",
    "escapes": 'print("caf\\u00e9 \\x41\\n\\t\\\\")',
    "regex": r"^(?:[a-z0-9]+(?:\.[a-z0-9]+)*)$ and \d{3}-\d{4} and [\w.+-]",
    "percent-links": "See https://example.org/wiki/Caf%C3%A9_%28restaurant%29?q=a%20b%26c&lang=fr#Histoire_%C3%A0",
    "sql": "SELECT id, name FROM items WHERE price BETWEEN 10 AND 20 ORDER BY id LIMIT 50;",
    "css": "a::before{content:'\\2014';color:#ff00ff;margin:0 10px 20px 30px}",
    "diff": "diff --git a/src/app.py b/src/app.py\nindex 83db48f..bf2a3c1 100644\n--- a/src/app.py\n+++ b/src/app.py\n@@ -1,4 +1,4 @@\n-x = 1\n+x = 2\n",
    "hexdump": "00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  |.ELF............|\n00000010  03 00 3e 00 01 00 00 00",
    "assembly": "mov eax, 0x10\nxor ebx, ebx\ncmp [rdi+8], al\nje 0x4005d0\n",
    "log": '{"ts":"2024-05-01T12:00:00.123Z","level":"info","msg":"done","ms":12,"id":"9f86d081"}\n{"ts":"2024-05-01T12:00:01Z"}',
    "json-in-json": json.dumps({"body": json.dumps({"a": [1, 2], "b": json.dumps({"c": "x"})})}),
    "hashes": "sha256 " + hashlib.sha256(b"a").hexdigest() + " md5 " + hashlib.md5(b"a").hexdigest(),
    "uuid": "550e8400-e29b-41d4-a716-446655440000 and 01890a5d-ac96-774b-bcce-b302099a8057",
    "versions": "torch==2.1.0 numpy>=1.26.4 node v20.11.1 kernel 6.1.0-18-amd64",
    "matrix": "[[0.123456, -1.5e-07, 3.25], [12.5, 100000.0, 0.0]]",
    "quoted-printable-talk": "In MIME a line ends with =\nand =3D stands for an equals sign.",
    "latex": "\\frac{a}{b} \\sum_{i=1}^{n} x_i^2 \\quad \\text{for } n \\geq 1",
    "shell": "for f in *.txt; do mv -- \"$f\" \"${f%.txt}.md\"; done && echo $? | tee /dev/null",
    "ansi": "\x1b[31merror\x1b[0m: build failed in 3.2 s",
    "emails-of-nobody": "@decorator and a @ b and foo@bar and git@github.com:acme/app.git",
    "times": "12:30:45 to 14:00, 2024-01-05, 05/12/2023, Q3 2024",
    "svg": '<svg viewBox="0 0 24 24"><path d="M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2 12 2z"/></svg>',
    "csv": "id,qty,price\n1,20,3.50\n2,10,12.00\n3,7,0.99\n",
    "base64-image-markdown": "![x](data:image/png;base64,",
    "dna": "ACGTACGTTAGCCGATCGATTACGATCGATCGGCTAACGT",
    "integers": "1 2 3 5 8 13 21 34 55 89 144 233 377 610 987 1597 2584 4181",
    "yaml": "name: build\non: [push]\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v4\n",
}  # fmt: skip


def _png(rng: random.Random) -> bytes:
    rows = b"".join(b"\0" + rng.randbytes(48) for _ in range(16))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


def benign() -> Iterator[tuple[str, Call]]:
    """Yield (name, call); every one must leave as it is."""
    rng = random.Random(7)
    for name, text in {**_PROSE, **_CODE}.items():
        if name == "base64-image-markdown":
            text += base64.b64encode(_png(rng)).decode() + ")"
        yield f"{name}", chat(user(text))
        yield (
            f"{name}-ascii",
            Call(OPENAI, CHAT, json.dumps({"model": "gpt-5", "messages": [user(text)]}).encode()),
        )
        yield f"{name}-fenced", chat(user(f"Explain this:\n```\n{text}\n```\n"))
        yield (
            f"{name}-in-part",
            chat(user([{"type": "text", "text": text}, {"type": "text", "text": "Explain."}])),
        )
        yield f"{name}-tool-result", chat(HELLO, {"role": "tool", "tool_call_id": "call_a", "content": text})
    for number in range(40):
        image = base64.b64encode(_png(rng)).decode()
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        yield f"image-{number}", chat(user([url, {"type": "text", "text": "What is this?"}]))
    for number in range(30):
        blob = base64.b64encode(rng.randbytes(300)).decode()
        yield f"blob-{number}", chat(user(f"Here is a compiled shader: {blob}"))
        yield f"hex-{number}", chat(user(f"Bytes: {rng.randbytes(100).hex()} end"))
        wrapped = base64.encodebytes(rng.randbytes(400)).decode()
        yield (
            f"wrapped-{number}",
            chat(user(f"-----BEGIN CERTIFICATE-----\n{wrapped}-----END CERTIFICATE-----")),
        )
    for name, text in _PROSE.items():
        encoded = base64.b64encode(text.encode()).decode()
        yield f"base64-of-{name}", chat(user(f"Decode {encoded} please"))
        yield f"key-{name}", chat(HELLO, tools=[{"type": "function", "function": {
            "name": "f", "description": text, "parameters": {"properties": {"p": {"description": text}}}}}])  # fmt: skip
    spaced = dump({"model": "gpt-5", "messages": [HELLO]}).replace(b":", b" : ").replace(b",", b" ,\n ")
    yield "spaced-json", Call(OPENAI, CHAT, spaced)
    yield "float-spelling", Call(OPENAI, CHAT, chat(HELLO).body[:-1] + b',"temperature":1.0E-1,"top_p":1.00}')
    yield "seed", Call(OPENAI, CHAT, chat(HELLO).body[:-1] + b',"seed":123456789}')
