"""What hostile texts cost: processor seconds per megabyte of the worst, and how long they hold the event loop.

Run from a checkout: scripts/bench hostile [--size BYTES] [--shapes]. Every rule's own examples are repeated densely,
as they stand and with other digits and letters, beside shapes that are known to hurt scanners.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from evasion.hostile import Hostile, of_rules, of_shapes
from gateways import inner_gateway
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete
from sallyport.exchange import Segment
from sallyport.heap import keep_what_lives

SENDER = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from rawclient import ask, post
for line in sys.stdin.buffer:
    body = Path(line.decode().strip()).read_bytes()
    talk = ask({port}, Path({ca!r}), "api.openai.com", post("/v1/chat/completions", body, "api.openai.com"), timeout=60)
    print(talk.status, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="code points of each text")
    parser.add_argument("--shapes", action="store_true", help="without the rules' examples")
    parser.add_argument("--rows", type=int, default=25, help="how many of the worst are printed")
    parser.add_argument(
        "--worst", type=int, default=8, help="how many of them go through a gateway as 1 MB bodies"
    )
    options = parser.parse_args()
    detector = Detector(DetectionSettings(cache_entries=0, deadline_s=120.0))
    detector.warm()
    texts = [*of_shapes(), *(() if options.shapes else of_rules(detector.rules))]
    rows = sorted(_costs(detector, texts, options.size), key=lambda row: -row[0])
    print(f"{len(rows)} texts of {options.size} characters; processor seconds per million characters:")
    for cost, text, outcome in rows[: options.rows]:
        print(f"{cost:>8.2f}  {text.name}  {outcome}")
    asyncio.run(_stalls([text for _, text, _ in rows[: options.worst]]))


def _costs(detector: Detector, texts: list[Hostile], size: int) -> Iterator[tuple[float, Hostile, str]]:
    for hostile in texts:
        segment = Segment("/text", hostile.surface, hostile.text(size))
        start = time.thread_time()
        try:
            outcome = f"{len(detector.scan([segment]))} findings"
        except ScanIncomplete as incomplete:
            outcome = incomplete.why
        yield (time.thread_time() - start) * 1_000_000 / size, hostile, outcome


async def _stalls(texts: list[Hostile]) -> None:
    """Send bodies of 1 MB through a gateway in this loop, and print the longest time a heartbeat had to wait."""
    policy = files("sallyport").joinpath("policies", "balanced.yaml").read_text("utf-8")
    detector = Detector(DetectionSettings(deadline_s=2.0, paranoia_secrets=1, paranoia_injection=1))
    detector.warm()
    keep_what_lives()  # as `sallyport run` does
    bodies: dict[str, bytes] = {"clean": _body("The quick brown fox jumps over the lazy dog. " * 22_000)}
    bodies |= {text.name: _body(text.text(1_000_000))[:1_040_000] for text in texts}
    strings = [f"{n % 1000:03d}" for n in range(90_000)]
    bodies["90,000 strings of 3 digits"] = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "notes": strings}
    ).encode()
    with tempfile.TemporaryDirectory() as scratch:
        async with inner_gateway(Path(scratch), policy=policy, detector=detector) as gateway:
            code = SENDER.format(
                path=sys.path[:3], port=gateway.port, ca=str(gateway.confdir / "ca-cert.pem")
            )
            sender = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert sender.stdin is not None
            assert sender.stdout is not None
            heart = _Heart()
            beating = asyncio.create_task(heart.beat())
            print(f"{'1 MB body':<56}{'status':>7}{'s':>7}{'CPU s':>7}{'longest stall ms':>18}")
            for name, body in {"warm-up": bodies["clean"], **bodies}.items():
                path = Path(scratch) / "body"
                path.write_bytes(body)
                start, cpu = time.perf_counter(), time.process_time()
                heart.longest_s = 0.0
                sender.stdin.write(str(path).encode() + b"\n")
                await sender.stdin.drain()
                status = (await sender.stdout.readline()).decode().strip()
                took, used = time.perf_counter() - start, time.process_time() - cpu
                print(
                    f"{name:<56}{status:>7}{took:>7.2f}{used:>7.2f}{heart.longest_s * 1000:>18.1f}",
                    flush=True,
                )
            beating.cancel()
            sender.stdin.close()
            await sender.wait()


def _body(text: str) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "gpt-5", "messages": [message]}, ensure_ascii=False).encode()


class _Heart:
    """Beats every millisecond; longest_s: the longest time that a beat came late."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.longest_s = max(self.longest_s, time.perf_counter() - due)


if __name__ == "__main__":
    main()
