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
from training.ner import score
from training.ner.augment import augment
from training.ner.calibrate import calibration
from training.ner.corpora import Sample, read
from training.ner.features import Tables, tables
from training.ner.fit import fit, runtime, shipped
from training.ner.network import Network, Sizes
from training.ner.recipe import (
    IMPORTANCE,
    TRAINED,
    labelled,
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
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--held-epochs", type=int, default=4, help="of the networks for figures and calibration"
    )
    parser.add_argument("--leave-out", nargs="*", default=TRAINED, help="sources to leave out in turn")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    began = time.monotonic()
    packages = ("torch", "numpy", "Faker", "babel", "phonenumbers", "tzdata")
    print("Python", platform.python_version(), *(f"{p} {version(p)}" for p in packages))
    plain = unlabelled(options.data)
    network, found = trained(labelled(options.data), plain, options.epochs)
    write(options.out, shipped(network, found))
    ewt = read(options.data / "pii", "uner_en_ewt")
    print(f"left out uner_en_ewt: {score.line(score.counts(runtime(network, found), ewt))}", flush=True)
    held: list[tuple[builtin.Recogniser, list[Sample]]] = []
    for source in options.leave_out:
        print(f"without {source}", flush=True)
        other, its_tables = trained(labelled(options.data, source), plain, options.held_epochs)
        part = read(options.data / "pii", source)
        held.append((runtime(other, its_tables), part))
        print(f"left out {source}: {score.line(score.counts(held[-1][0], part))}", flush=True)
    if held:
        slopes = calibration(held)
        print("calibration", np.round(slopes, 3).tolist())
        write(options.out, shipped(network, found, slopes))
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")


def write(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the weights and their revision, a digest of the arrays and of the code that reads them."""
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
