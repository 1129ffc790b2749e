"""Where the data that ships with Sallyport lies: inside the wheel, or beside a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def rules_dir() -> Path:
    """Return the folder of rule packs and the provider catalogue.

    Raises FileNotFoundError with both places tried.
    """
    return _find("rules")


def policies_dir() -> Path:
    """Return the folder of the preset policies."""
    return _PACKAGE / "policies"


def _find(name: str) -> Path:
    places = (_PACKAGE / "_data" / name, _PACKAGE.parent.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"{name}/ is in neither {places[0]} nor {places[1]}; reinstall sallyport")
