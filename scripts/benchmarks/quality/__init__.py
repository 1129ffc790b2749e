"""Generated texts with known spans, and how much of them the detector finds."""
