"""Training of the built-in recogniser of names: see docs/models/ner.md."""
