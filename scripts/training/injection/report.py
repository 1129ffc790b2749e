"""The tables of left-out sources and families: how often rules, classifier, and both together refuse."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from training.injection.calibrate import Seen

from sallyport.detect.classifier.classifier import Calibration
from sallyport.detect.opinion import CERTAIN

RATE = 0.01
FAMILIES = "families: "


def report(seen: Sequence[Seen], calibrations: Mapping[str, Calibration], rate: float = RATE) -> str:
    """Return the tables as Markdown; what a row names was left out of the training of its own row."""
    rows: defaultdict[tuple[str, str, str], list[tuple[bool, bool]]] = defaultdict(list)
    for s in seen:
        calibration = calibrations[s.surface]
        alone = calibration.probability(s.logit, s.sentences, 0.0) >= calibration.threshold(rate)
        helped = calibration.probability(s.logit, s.sentences, min(s.points, 1.0)) >= calibration.threshold(
            rate
        )
        rules = s.points >= 1.0
        stands = rules and (
            s.points >= CERTAIN
            or calibration.probability(s.logit, s.sentences, s.points) >= calibration.doubt
        )
        label = "attack" if s.attack else "clean"
        keys = [(label, s.surface, s.source)]
        if s.lang != "en" and s.attack:
            keys.append((label, s.surface, f"language {s.lang}"))
        if s.family and not s.source.startswith("families"):
            keys.append((label, s.surface, f"{s.source}: {s.family}"))
        if s.source.startswith("families"):
            keys.append((label, s.surface, f"{FAMILIES}{'' if s.lang == 'en' else s.lang + ' '}{s.family}"))
        for key in keys:
            rows[key].append((rules, alone, stands or helped))
    lines = []
    for name, own in (("source", False), ("family", True)):
        lines += [
            f"| | surface | {name} | texts | rules | classifier | both |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for (label, surface, source), found in sorted(rows.items()):
            if source.startswith(FAMILIES) is own:
                shares = " | ".join(f"{sum(f[i] for f in found) / len(found):.1%}" for i in range(3))
                lines.append(
                    f"| {label} | {surface} | {source.removeprefix(FAMILIES)} | {len(found)} | {shares} |"
                )
        lines.append("")
    for name, calibration in calibrations.items():
        lines.append(f"{name}: {calibration}")
    return "\n".join(lines)
