"""Everything a client may write to get a value past the rules, and what only looks like it."""
