"""Engines for tests of the service around them: real spaCy pipelines on disk, one good and one that misbehaves."""

from pathlib import Path

import spacy

NAMES = {"Marta Quill": "PER", "Ove Lindqvist": "PERSON", "New Amstel": "GPE", "Quill & Sons": "ORG"}

TRAP = """
import os, signal, socket, sys, time
import spacy
from spacy.language import Language

@Language.component("trap")
def trap(doc):
    text = doc.text
    if "CRASH" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "RAISE" in text:
        raise ValueError(text)
    if "STUCK" in text:
        time.sleep(600)
    if "LIE" in text:
        socket.socket(fileno=int(sys.argv[1])).sendall(b"S" + (4).to_bytes(4) + (77).to_bytes(4))
        time.sleep(600)
    return doc

class Dropping:
    def __call__(self, doc):
        return doc
    def pipe(self, docs, batch_size=0):
        return (doc for doc in docs if "DROP" not in doc.text)

@Language.factory("dropping")
def dropping(nlp, name):
    return Dropping()

def load(**overrides):
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PER", "pattern": "Marta Quill"}])
    nlp.add_pipe("trap")
    nlp.add_pipe("dropping")
    return nlp
"""


def save_ruler(folder: Path, names: dict[str, str] = NAMES) -> Path:
    """Save a blank pipeline that knows these names (name -> label); return its folder."""
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": name} for name, label in names.items()])
    pipeline.to_disk(folder)
    return folder


def save_package(folder: Path, name: str, source: str) -> None:
    """Write an installed spaCy package into a folder that is on the path."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
