"""Asking a policy about a call that nobody makes: the real pipeline, with given facts in place of the wire."""
