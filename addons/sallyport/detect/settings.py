"""What to look for and how hard, and which rules that switches on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sallyport.decision import Kind
from sallyport.detect import credentials
from sallyport.detect.classifier.classifier import Classifier
from sallyport.detect.packs import Packs, Rule


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What to look for and how hard.

    kinds: which kinds at all. paranoia_*: highest level of rules that run, 1 (sure) to 4 (anything odd).
    entities: PII entities to report; None means all. min_score: PII and secrets below it are not reported;
    injection findings always are, for their points are added up (see injection_score).
    deadline_s: for one scan() call; passed means ScanIncomplete. cpu_s: processor time of its thread,
    likewise, for texts of a million characters together; for longer ones in proportion.
    max_chars: of one segment, likewise.
    regions: whose national telephone formats count. recognisers: files in Presidio's recogniser format.
    cache_entries, cache_bytes: bounds of the result cache; 0 entries switches it off.
    injection_false_alarms: share of clean texts the classifier may report; None and it reports nothing by itself.
    injection_second_opinion: whether the classifier may find that what one rule refuses only speaks of an attack.
    """

    kinds: frozenset[Kind] = frozenset(Kind)
    paranoia_secrets: int = 2
    paranoia_pii: int = 2
    paranoia_injection: int = 2
    entities: frozenset[str] | None = None
    min_score: float = 0.5
    deadline_s: float = 5.0
    cpu_s: float = 0.8
    max_chars: int = 8_000_000
    regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "BR", "AU")
    recognisers: tuple[Path, ...] = ()
    cache_entries: int = 20_000
    cache_bytes: int = 16_000_000
    injection_false_alarms: float | None = None
    injection_second_opinion: bool = False

    def paranoia(self, kind: Kind) -> int:
        return {
            Kind.SECRET: self.paranoia_secrets,
            Kind.PII: self.paranoia_pii,
            Kind.INJECTION: self.paranoia_injection,
        }[kind]


def enabled(rule: Rule, settings: DetectionSettings) -> bool:
    """Say whether a rule runs."""
    if rule.kind not in settings.kinds or rule.paranoia > settings.paranoia(rule.kind):
        return False
    return rule.kind is not Kind.PII or settings.entities is None or rule.entity in settings.entities


def revision_of(
    packs: Packs, settings: DetectionSettings, classifier: Classifier | None, *, judges: bool
) -> str:
    """Return a digest that changes whenever the same text could give other findings. judges: tokens, too."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(packs.revision.encode())
    digest.update((classifier.revision if classifier is not None else "").encode())
    digest.update((credentials.shipped().revision if judges else "").encode())
    for name in sorted(set(settings.__slots__) - {"cache_entries", "cache_bytes", "deadline_s", "cpu_s"}):
        value = getattr(settings, name)
        stable = sorted(str(v) for v in value) if isinstance(value, frozenset) else value
        digest.update(f"{name}={stable}\0".encode())
    for path in settings.recognisers:
        digest.update(path.read_bytes())
    return digest.hexdigest()
