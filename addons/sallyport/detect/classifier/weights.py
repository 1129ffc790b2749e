"""The weights file: a NumPy archive of plain arrays, the table in eight bits with a scale per column."""

import hashlib
import io
import json
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sallyport.detect.classifier.classifier import Calibration, Classifier
from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import BUCKETS
from sallyport.detect.classifier.model import Head, Network
from sallyport.errors import OperatorError

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
            table = arrays["table"].astype(np.float32) * arrays["scale"]
            known = dict(zip(arrays["concept_keys"].tolist(), arrays["concepts"].tolist(), strict=True))
            meta = json.loads(bytes(arrays["meta"]).decode())
            heads = {
                name: Head(
                    arrays[f"{name}_inner"],
                    arrays[f"{name}_inner_bias"],
                    arrays[f"{name}_outer"],
                    float(arrays[f"{name}_outer_bias"][0]),
                )
                for name in meta["calibrations"]
            }
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        what = f"cannot be read: {type(error).__name__}"
        raise OperatorError(str(path), what, "Install Sallyport again") from None
    if len(table) != BUCKETS:
        raise OperatorError(str(path), "is of another version", "Install Sallyport again")
    calibrations = {
        name: Calibration(
            c["slope"], c["length"], c["points"], c["offset"], tuple((r, p) for r, p in c["thresholds"])
        )
        for name, c in meta["calibrations"].items()
    }
    revision = hashlib.blake2b(raw, digest_size=16).hexdigest()
    return Classifier(Network(table, heads, Concepts.known(known)), calibrations, revision)


def write(path: Path, classifier: Classifier, about: dict[str, object]) -> None:
    """Write a weights file, the same bytes for the same weights. about: seeds and versions, for people."""
    table = classifier.network.table
    scale = np.maximum(np.abs(table).max(axis=0), 1e-6) / 127.0
    arrays: dict[str, np.ndarray] = {
        "table": np.rint(table / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "concept_keys": classifier.network.concepts.keys[1:],
        "concepts": classifier.network.concepts.numbers[1:],
    }
    for name, head in classifier.network.heads.items():
        arrays[f"{name}_inner"] = head.inner
        arrays[f"{name}_inner_bias"] = head.inner_bias
        arrays[f"{name}_outer"] = head.outer
        arrays[f"{name}_outer_bias"] = np.array([head.outer_bias], np.float32)
    calibrations = {
        name: {
            "slope": c.slope, "length": c.length, "points": c.points, "offset": c.offset,
            "thresholds": [list(pair) for pair in c.thresholds],
        }
        for name, c in classifier.calibrations.items()
    }  # fmt: skip
    meta = json.dumps({"calibrations": calibrations, "about": about}, sort_keys=True)
    arrays["meta"] = np.frombuffer(meta.encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
