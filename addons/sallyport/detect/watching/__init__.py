"""Following an answer while it is written: what is found depends on the text, never on how it was cut."""
