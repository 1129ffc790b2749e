# ruff: noqa: S311
"""scripts/train_injection DATA: trains, calibrates on left-out sources, writes the weights and the table.

Prints seeds, versions, minutes, and the table of docs/models/injection.md. Needs SciPy, which Sallyport
itself does not.
"""

import argparse
import json
import platform
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
from training.injection.calibrate import (
    ALIKE_CONTENT,
    ALIKE_USER,
    EACH_OF_FEW,
    JOINED,
    Seen,
    calibrate,
    doubting,
)
from training.injection.calibrate import SHIPPED as BY_SHIPPED
from training.injection.families import families
from training.injection.fit import Bag, Settings, bags_of, fit
from training.injection.lexicon import concepts
from training.injection.report import report
from training.injection.texts import CONTENT, TOOLS, USER, Text, carriers, shared
from training.injection.train import LEFT_OUT, installed, texts
from training.injection.written import augmented, written

from sallyport.decision import Kind
from sallyport.detect.classifier.classifier import Classifier
from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.model import Network
from sallyport.detect.classifier.weights import SHIPPED, read, write
from sallyport.detect.engine import DetectionSettings, Detector, injection_score
from sallyport.detect.normalise import normalise
from sallyport.exchange import Segment, Surface

SEED = 20
FOLDS = (
    ("agentdojo", "deepset_prompt_injections", "hh_rlhf_redteam_questions", "written 0"),
    ("asb", "oss_docs_about_security", "jailbreak_classification", "llm_guard_tests", "python", "written 1"),
    ("garak", "arena_hard", "promptinject", "webarena_intents", "package_readmes", "written 2"),
)
"""What is left out together; no fold takes all that people ask a model in earnest."""

PLANTED = "planted"
"""How the sources of attacks begin that were planted in mails; of a calibration they decide what length is worth."""

MAILS = {1000: 450, 2000: 225, 4000: 112, 20000: 22, 50000: 9}
"""How many clean texts of so many characters are made of mails, reviews and blogs: each length of as many characters,
so that a line counts in each as often.
"""

SURFACE = {USER: Surface.USER, CONTENT: Surface.TOOL_RESULT, TOOLS: Surface.TOOL_DEFINITION}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with injection/ and pii/")
    parser.add_argument("--scale", type=float, default=0.3, help="how many texts are generated")
    parser.add_argument(
        "--seen", type=Path, help="keep (or, if there, use) the predictions on left-out texts"
    )
    parser.add_argument(
        "--keep-calibration",
        action="store_true",
        help="train the network that ships alone and keep the thresholds of the weights before: a quarter of the time, "
        "for a few texts more; then measure on the check sets that no threshold became looser than it says",
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    given = parser.parse_args()
    begun = time.monotonic()
    settings = Settings()
    rules = Detector(
        DetectionSettings(kinds=frozenset({Kind.INJECTION}), paranoia_injection=1, deadline_s=60.0)
    )
    print(f"reading {given.data}", flush=True)
    known, meant = texts(given.data, SEED, given.scale), concepts()
    bags = bags_of(known, settings, meant)
    print(f"{len(bags)} texts, {(time.monotonic() - begun) / 60:.1f} minutes", flush=True)
    if given.keep_calibration:
        seen = []
    elif given.seen and given.seen.exists():
        seen = [Seen(**row) for row in json.loads(given.seen.read_text())]
    else:
        seen = list(_left_out(given.data, bags, settings, meant, rules))
        if given.seen:
            given.seen.write_text(json.dumps([_plain(s) for s in seen]))
    bags += bags_of([*augmented(known, SEED)], settings, meant)
    network = fit(bags, replace(settings, seed=SEED), meant, _say)
    about = {
        "seed": SEED, "scale": given.scale, "texts": len(bags), "python": platform.python_version(),
        "numpy": np.__version__, "scipy": scipy.__version__,
    }  # fmt: skip
    if given.keep_calibration:
        write(given.out, Classifier(network, read(SHIPPED).calibrations, ""), about)
        print(f"{given.out.stat().st_size} bytes, {(time.monotonic() - begun) / 60:.1f} minutes, {about}")
        return
    never = [t for t in _never_trained(given.data) if t.group == LEFT_OUT[0]]
    seen += see(network, [replace(t, source=t.source + BY_SHIPPED) for t in never], rules)
    one, other = _halves(seen)
    planted = [s for s in one if s.source.startswith(PLANTED)]
    one = [s for s in one if not s.source.startswith(PLANTED)]
    long = [s for s in other if s.source.startswith(JOINED)]  # too few to be halved
    people, content = ([s for s in one if s.surface == surface] for surface in (USER, CONTENT))
    calibrations = {
        USER: doubting(calibrate(people, ALIKE_USER), people),
        CONTENT: doubting(calibrate(content + long, ALIKE_CONTENT, planted=planted), content + planted),
        TOOLS: calibrate([s for s in seen if s.surface == TOOLS], each=EACH_OF_FEW),  # too few to doubt by
    }
    write(given.out, Classifier(network, calibrations, ""), about)
    shipped = read(given.out)
    print(f"{given.out.stat().st_size} bytes, {(time.monotonic() - begun) / 60:.1f} minutes, {about}")
    print(report(other, shipped.calibrations))


def _halves(seen: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    """Return every second text of each source, and the others: what a source adds moves no text of another."""
    halves: tuple[list[Seen], list[Seen]] = [], []
    times: Counter[tuple[str, str, bool]] = Counter()
    for s in seen:
        kind = s.source, s.surface, s.attack
        halves[times[kind] % 2].append(s)
        times[kind] += 1
    return halves


def _left_out(
    data: Path, bags: Sequence[Bag], settings: Settings, meant: Concepts, rules: Detector
) -> Iterator[Seen]:
    """Yield the predictions on every shared and written text by a network that knows nothing of its source."""
    every = [*shared(data / "injection"), *installed(random.Random(SEED)), *written(), *families(SEED)]
    never = list(_never_trained(data))
    lines = [t.text for t in never if t.source == LEFT_OUT[0]]
    for number, fold in enumerate(FOLDS):
        known = [b for b in bags if b.text.group not in fold]
        known += bags_of([*augmented([b.text for b in known], SEED + number)], settings, meant)
        network = fit(known, replace(settings, seed=SEED + number), meant, _say)
        print(f"fold {number + 1} of {len(FOLDS)}: {', '.join(fold)}", flush=True)
        apart, mails = [t for t in every if t.group in fold], never[number :: len(FOLDS)]
        yield from see(network, apart, rules)
        yield from see(network, mails, rules)
        yield from see(network, [*_planted(apart, lines, random.Random(SEED + number))], rules)


def _never_trained(data: Path) -> Iterator[Text]:
    """Yield clean mails, reviews and blogs, alone and joined to documents of up to 50 KB; and tool descriptions."""
    lines = [text for source, _, text in carriers(data / "pii") if source in LEFT_OUT]
    for line in lines:
        yield Text(normalise(line).text, False, CONTENT, LEFT_OUT[0], LEFT_OUT[0], "en")
    rng = random.Random(SEED)
    for chars, count in MAILS.items():
        for _ in range(count):
            joined = "".join(line + rng.choice([" ", "\n"]) for line in _passage(lines, chars, rng))
            yield Text(normalise(joined).text, False, CONTENT, f"{LEFT_OUT[0]} joined", LEFT_OUT[0], "en")
    from training.injection.generate import Writer

    for text in Writer(SEED + 99, {"en": lines}, ()).texts(0, 0, 600, 0):
        yield replace(text, source="generated anew")


def _passage(lines: Sequence[str], chars: int, rng: random.Random) -> list[str]:
    """Return so many characters of lines, as they stand one after the other."""
    at, size, found = rng.randrange(len(lines)), 0, []
    while size < chars:
        found.append(lines[at % len(lines)])
        size += len(found[-1])
        at += 1
    return found


def _planted(attacks: Sequence[Text], lines: Sequence[str], rng: random.Random) -> Iterator[Text]:
    """Yield every second short attack of documents in 1 KB and in 4 KB of mails, reviews and blogs."""
    for text in attacks:
        own = text.source.split(",")[0]
        if not text.attack or text.surface != CONTENT or own not in ("families", "written"):
            continue
        for chars in (1000, 4000):
            if rng.random() < 0.5 or len(text.text) > 600:
                continue
            around = _passage(lines, chars, rng)
            at = rng.choice([0, len(around), rng.randrange(len(around) + 1)])
            whole = rng.choice([" ", "\n"]).join([*around[:at], text.text, *around[at:]])
            yield replace(text, text=whole, source=f"{PLANTED} in {chars // 1000} KB: {own}", family="")


def see(network: Network, rows: Sequence[Text], rules: Detector) -> Iterator[Seen]:
    for row in rows:
        window = network.judge(row.text, row.surface)
        found = rules.scan([Segment("", SURFACE[row.surface], row.text)])
        points = injection_score(found).get("", 0.0)
        yield Seen(
            row.source, row.surface, row.attack, round(window.logit, 4) if window else -20.0,
            window.sentences if window else 1, round(points, 2), row.lang, len(row.text), row.family,
        )  # fmt: skip


def _say(line: str) -> None:
    print(line, flush=True)


def _plain(seen: Seen) -> dict[str, object]:
    return {name: getattr(seen, name) for name in seen.__slots__}


if __name__ == "__main__":
    main()
