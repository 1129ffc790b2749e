"""Recorded traffic through the stages of another policy: what would have been decided, and what changes."""
