"""For every test: what ships is read once a process."""

from keeping import keep_what_is_read


def pytest_configure() -> None:
    keep_what_is_read()
