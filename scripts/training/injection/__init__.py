"""Training of the injection classifier; nothing here is shipped."""
