"""Measures a network on texts: the highest logit of each, by source."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from training.injection.texts import Text

from sallyport.detect.classifier.model import Network


def logits(network: Network, texts: Iterable[Text]) -> np.ndarray:
    """Return each text's log-odds before calibration; -20 for a text without words."""
    judged = (network.judge(t.text, t.surface) for t in texts)
    return np.array([-20.0 if w is None else w.logit for w in judged])


def table(network: Network, texts: list[Text], cuts: Iterable[float]) -> str:
    groups = defaultdict(list)
    for text, logit in zip(texts, logits(network, texts), strict=True):
        groups[text.surface, text.attack, text.source].append(logit)
    lines = []
    for key, values in sorted(groups.items(), key=lambda kv: (kv[0][0], kv[0][1], kv[0][2])):
        shares = " ".join(f"{(np.array(values) > c).mean():6.1%}" for c in cuts)
        lines.append(f"{key[0]:8} {'attack' if key[1] else 'clean':7} {key[2]:28} {len(values):5} {shares}")
    return "\n".join(lines)
