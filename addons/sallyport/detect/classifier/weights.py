"""The weights file: a NumPy archive of plain arrays.

Of the table every row has a scale, by quarters of an octave, and numbers from -LEVELS to LEVELS, two to a byte.
Which features have a row is kept as one bit for each.
"""

import hashlib
import io
import json
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.classifier.classifier import Calibration, Classifier
from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import BUCKETS
from sallyport.detect.classifier.model import BELONGING, MOST, Floats, Head, Network, Places, Steps
from sallyport.errors import OperatorError

LEVELS = 5
"""Numbers of a row are told apart by this share of its greatest."""

QUARTER = 4
"""Scales of rows in an octave."""

FAINTEST = -10
"""Least scale, in octaves: rows that are weaker still are zeros."""

DUST = 1e-12
"""A weight below this changes no digit of what a network of single precision says."""

SHIPPED = Path(__file__).parent / "injection.npz"


@cache
def shipped() -> Classifier:
    """Return the classifier that comes with Sallyport. Raises OperatorError where its file is damaged."""
    return read(SHIPPED)


def read(path: Path) -> Classifier:
    """Read a weights file; no pickles. Raises OperatorError."""
    try:
        raw = path.read_bytes()
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            table = _table(arrays["table"], arrays["octaves"])
            places = _places(np.unpackbits(arrays["known"]))
            known = dict(zip(arrays["concept_keys"].tolist(), arrays["concepts"].tolist(), strict=True))
            meta = json.loads(bytes(arrays["meta"]).decode())
            heads = {
                name: Head(
                    _without_dust(arrays[f"{name}_inner"]),
                    arrays[f"{name}_inner_bias"],
                    arrays[f"{name}_outer"],
                    float(arrays[f"{name}_outer_bias"][0]),
                )
                for name in meta["calibrations"]
            }
            calibrations = {
                name: Calibration(
                    c["slope"], c["length"], c["points"], c["offset"],
                    tuple((r, p) for r, p in c["thresholds"]), c["doubt"],
                )
                for name, c in meta["calibrations"].items()
            }  # fmt: skip
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        what = f"cannot be read: {type(error).__name__}"
        raise OperatorError(str(path), what, "Install Sallyport again") from None
    known_of = 2 * table.shape[1] + BELONGING
    if (
        places.size != BUCKETS
        or len(table) != places.max() + 1
        or any(len(head.inner) != known_of for head in heads.values())
    ):
        raise OperatorError(str(path), "is of another version", "Install Sallyport again")
    revision = hashlib.blake2b(raw, digest_size=16).hexdigest()
    return Classifier(Network(places, *stepped(table), heads, Concepts.known(known)), calibrations, revision)


def _without_dust(weights: Floats) -> Floats:
    """Return weights of which those that say nothing are zeros: training leaves some that a processor multiplies by
    a hundred times as slowly, since they are smaller than any normal number.
    """
    return np.where(np.abs(weights) < DUST, np.float32(0.0), weights)


def stepped(table: Floats) -> tuple[Steps, float]:
    """Return a table as the network keeps it: in whole steps, and their size; rounded as a file rounds it."""
    rounded, octaves = _rounded(table)
    table = _scaled(rounded, octaves)
    scale = float(np.abs(table).max(initial=1e-6)) / MOST
    return np.rint(table / np.float32(scale)).astype(np.int16), scale


def _rounded(table: Floats) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the numbers of a table in levels of the greatest of their row, and the scale of each row."""
    greatest = np.maximum(np.abs(table).max(axis=1), 2.0**FAINTEST)
    octaves = np.rint(np.log2(greatest) * QUARTER).astype(np.int8)
    return np.rint(table * (LEVELS / _scales(octaves))[:, None]).astype(np.int8), octaves


def _scaled(rounded: NDArray[np.int8], octaves: NDArray[np.int8]) -> Floats:
    table: Floats = rounded.astype(np.float32)
    table *= (_scales(octaves) / LEVELS)[:, None]
    return table


def _scales(octaves: NDArray[np.int8]) -> Floats:
    return np.exp2(octaves / np.float32(QUARTER), dtype=np.float32)


def _table(pairs: NDArray[np.uint8], octaves: NDArray[np.int8]) -> Floats:
    """Return the table of a file, with the row of zeros that features without a row of their own have."""
    rounded = np.zeros((octaves.size + 1, 2 * len(pairs)), np.int8)
    rounded[1:, 0::2] = (pairs & 15).T
    rounded[1:, 1::2] = (pairs >> 4).T
    rounded[1:] -= LEVELS
    return _scaled(rounded, np.append(np.int8(0), octaves))


def _places(known: NDArray[np.uint8]) -> Places:
    """Return the row of each feature: those that are known have one each, in order, from 1."""
    rows: Places = np.cumsum(known, dtype=np.int32)
    rows *= known
    return rows


def write(path: Path, classifier: Classifier, about: dict[str, object]) -> None:
    """Write a weights file, the same bytes for the same weights. about: seeds and versions, for people."""
    network = classifier.network
    table, octaves = _rounded(network.table * np.float32(network.scale))
    counted = (table[1:].T + LEVELS).astype(np.uint8)
    arrays: dict[str, np.ndarray] = {
        "table": counted[1::2] << 4 | counted[0::2],
        "octaves": octaves[1:],
        "known": np.packbits(network.places != 0),
        "concept_keys": network.concepts.keys[1:],
        "concepts": network.concepts.numbers[1:],
    }
    for name, head in network.heads.items():
        arrays[f"{name}_inner"] = head.inner
        arrays[f"{name}_inner_bias"] = head.inner_bias
        arrays[f"{name}_outer"] = head.outer
        arrays[f"{name}_outer_bias"] = np.array([head.outer_bias], np.float32)
    calibrations = {
        name: {
            "slope": c.slope, "length": c.length, "points": c.points, "offset": c.offset,
            "thresholds": [list(pair) for pair in c.thresholds], "doubt": c.doubt,
        }
        for name, c in classifier.calibrations.items()
    }  # fmt: skip
    meta = json.dumps({"calibrations": calibrations, "about": about}, sort_keys=True)
    arrays["meta"] = np.frombuffer(meta.encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
