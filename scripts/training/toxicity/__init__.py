"""Training of the toxicity scorer; nothing here is shipped."""
