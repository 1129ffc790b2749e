"""What was said, where the policy keeps it: sealed under a key per person, apart from the keys."""
