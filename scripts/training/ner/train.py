"""Train, calibrate, judge and write the recogniser. See docs/models/ner.md.

Run by scripts/train_ner with the data folder, which holds pii/ and injection/.
"""

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scripts.training.ner import score
from scripts.training.ner.augment import augment
from scripts.training.ner.calibrate import calibration
from scripts.training.ner.corpora import Sample, read
from scripts.training.ner.features import Tables, tables
from scripts.training.ner.fit import fit, runtime, shipped
from scripts.training.ner.network import Network, Sizes
from scripts.training.ner.recipe import (
    IMPORTANCE,
    TRAINED,
    labelled,
    self_labelled,
    unlabelled,
    without_made_up_names,
)

from sallyport.detect.ner import builtin

SEED = 1
WEIGHTS = Path(builtin.__file__).with_name("weights")


def trained(samples: Sequence[Sample], plain: Sequence[str], epochs: int) -> tuple[Network, Tables]:
    """Fit a network to samples; plain texts only count towards which words are common."""
    found = tables([without_made_up_names(s) for s in samples], plain)
    print(
        f"  {len(samples)} texts, {len(found.listed)} listed words, vocabulary {found.vocabulary}", flush=True
    )
    network = fit(
        samples, lambda s: IMPORTANCE[s.source], found, augment, sizes=Sizes(), epochs=epochs, seed=SEED
    )
    return network, found


def main() -> None:
    """Train as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with pii/ and injection/")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    began = time.monotonic()
    packages = ("torch", "numpy", "Faker", "babel", "phonenumbers", "tzdata")
    print("Python", platform.python_version(), *(f"{p} {version(p)}" for p in packages))
    plain = unlabelled(options.data)
    held: list[tuple[builtin.Recogniser, list[Sample]]] = []
    for source in TRAINED:
        print(f"without {source}", flush=True)
        network, found = trained(labelled(options.data, source), plain, options.epochs)
        part = read(options.data / "pii", source)
        held.append((runtime(network, found), part))
        print(f"left out {source}: {score.line(score.counts(held[-1][0], part))}", flush=True)
    slopes = calibration(held)
    print("calibration", np.round(slopes, 3).tolist())
    print("first network", flush=True)
    samples = labelled(options.data)
    network, found = trained(samples, plain, options.epochs)
    ewt = read(options.data / "pii", "uner_en_ewt")
    print(f"left out uner_en_ewt: {score.line(score.counts(runtime(network, found), ewt))}", flush=True)
    print("second network", flush=True)
    samples += self_labelled(plain, runtime(network, found))
    network, found = trained(samples, plain, options.epochs)
    final = runtime(network, found, slopes)
    print(f"left out uner_en_ewt: {score.line(score.counts(final, ewt))}")
    write(options.out, shipped(network, found, slopes))
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")


def write(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the weights and a note of what they are; the revision is a digest of arrays and of the code that reads them."""
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "names.npz", **arrays)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    for module in ("builtin.py", "decode.py", "words.py"):
        digest.update(WEIGHTS.with_name(module).read_bytes())
    (folder / "about.json").write_text(json.dumps({"revision": digest.hexdigest()[:16]}) + "\n")


if __name__ == "__main__":
    main()
