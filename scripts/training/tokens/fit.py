# ruff: noqa: S311
"""scripts/fit_tokens RANKS DATA: fit the weights that estimate token counts, against the real encoders.

RANKS holds tiktoken's own files (`<name of the file>` as in sallyport.metering.tokens.RANKS; their digests are
checked). DATA holds JSON lines with "text" and "lang", in any folders. Code is the standard library of the Python
that runs this; JSON, logs and keys are made from DATA and a seed. Prints, for each encoding, the weights to put
into the module, and how far estimates lie from counts by kind of text.
"""

import argparse
import base64
import gzip
import json
import random
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sallyport.metering.tokens import RANKS, TokenCounter, features

SEED = 1
MIN_CHARS, MAX_CHARS = 3_000, 8_000
"""Texts are joined until they are as long as a request is: the estimate is for requests."""

MAX_OF_A_KIND = 150
MODELS = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}

type Matrix = np.ndarray[Any, np.dtype[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ranks", type=Path)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    counter = TokenCounter(given.ranks)
    loaded = counter.load()
    if missing := sorted(RANKS.keys() - set(loaded)):
        raise SystemExit(f"{given.ranks} lacks {', '.join(f'{RANKS[n].file} ({n})' for n in missing)}")
    texts = corpus(given.data)
    for name in RANKS:
        report(name, texts, lambda text, model=MODELS[name]: counter.count([text], model).tokens)


def corpus(data: Path) -> list[tuple[str, str]]:
    """Return kind and text, shuffled alike every time. Raises SystemExit where there is no data."""
    chance = random.Random(SEED)
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    rows = []
    for path in sorted(data.rglob("*.jsonl*")):
        for row in _rows(path):
            if isinstance(row.get("text"), str) and row["text"]:
                by_kind[str(row.get("lang", "en"))].append(row["text"])
                rows.append(row)
    if not rows:
        raise SystemExit(f"{data} holds no JSON lines with a text")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        by_kind["code"].append(path.read_text("utf-8", "replace")[:20_000])
    chance.shuffle(rows)
    by_kind["json"] = [json.dumps(row, indent=chance.choice((None, 2))) for row in rows[:4_000]]
    by_kind["log"] = [_log(chance, row["text"]) for row in rows[:4_000]]
    by_kind["smile"] = [_smiling(chance, row["text"]) for row in rows[:1_500]]
    by_kind["keys"] = [_key(chance) for _ in range(3_000)]
    return [(kind, text) for kind, pieces in by_kind.items() for text in _joined(pieces, chance)]


def report(name: str, texts: Sequence[tuple[str, str]], count: Callable[[str], int]) -> None:
    """Fit the weights of an encoding, and print them with their errors."""
    counted = np.array([count(text) for _, text in texts], float)
    seen = np.array([features(text) for _, text in texts], float)
    # Each text weighs the same: errors are relative to its own count.
    weights = least_squares(seen / counted[:, None], np.ones(len(texts)))
    print(f'"{name}": ({", ".join(f"{w:.4f}" for w in weights)}),')
    ratios = seen @ weights / counted
    for kind in sorted({kind for kind, _ in texts}):
        own = np.array([ratio for ratio, (of, _) in zip(ratios, texts, strict=True) if of == kind])
        low, middle, high = np.quantile(own, (0.05, 0.5, 0.95))
        print(f"  {kind:6} {len(own):4} texts, estimate/count {middle:.3f} ({low:.3f} to {high:.3f})")


def least_squares(seen: Matrix, wanted: Matrix, rounds: int = 20_000) -> Matrix:
    """Return the weights, none below 0, that bring seen @ weights nearest to wanted: coordinate descent."""
    squares, pulls = seen.T @ seen, seen.T @ wanted
    weights = np.zeros(seen.shape[1])
    for _ in range(rounds):
        before = weights.copy()
        for place in np.flatnonzero(squares.diagonal() > 0):
            gap = pulls[place] - squares[place] @ weights
            weights[place] = max(0.0, weights[place] + gap / squares[place, place])
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    yield from (row for line in lines if isinstance(row := json.loads(line), dict))


def _joined(pieces: list[str], chance: random.Random) -> Iterator[str]:
    chance.shuffle(pieces)
    text, made = "", 0
    for piece in pieces:
        text += piece + "\n"
        if len(text) >= MIN_CHARS:
            yield text[:MAX_CHARS]
            text, made = "", made + 1
            if made == MAX_OF_A_KIND:
                return
    if text:
        yield text


def _log(chance: random.Random, text: str) -> str:
    day, hour = f"{chance.randint(1, 12):02}-{chance.randint(1, 28):02}", chance.randint(0, 23)
    level, status = chance.choice(("INFO", "WARN", "DEBUG", "ERROR")), chance.choice((200, 404, 500))
    head = f"2026-{day}T{hour:02}:00:{chance.random() * 60:06.3f}Z {level} [worker-{chance.randint(1, 64)}]"
    return f"{head} {' '.join(text.split()[:8])} took={chance.random() * 900:.1f}ms status={status}"


def _smiling(chance: random.Random, text: str) -> str:
    """Return a text with pictures in it, of four bytes each."""
    words = text.split()[:12]
    return " ".join(word + chr(chance.randint(0x1F600, 0x1F64F)) * chance.randint(0, 2) for word in words)


def _key(chance: random.Random) -> str:
    raw = chance.randbytes(32)
    return chance.choice((raw.hex(), base64.b64encode(raw).decode(), str(int.from_bytes(raw[:12]))))


if __name__ == "__main__":
    main()
