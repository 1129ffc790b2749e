"""Options that several commands read alike."""

from pathlib import Path

from sallyport.errors import OperatorError


def folder(text: str) -> Path:
    """Return the folder that --confdir names. Raises OperatorError for an empty text, which is no folder.

    An empty text comes from a variable that was never set; read as a path it is the current folder.
    """
    if not text.strip():
        raise OperatorError(
            "--confdir", "it is empty", "Name a folder, or leave the option out for $SALLYPORT_CONFDIR."
        )
    return Path(text).expanduser()
