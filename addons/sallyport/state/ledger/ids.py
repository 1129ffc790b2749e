"""By what id the ledger knows an exchange: its own, or a further one where what was reserved before is over."""

_AGAIN = "#"
"""Stands between an exchange and the number of a further reservation of it."""


def further(exchange_id: str, attempt: int) -> str:
    """Return the id of a reservation of an exchange; attempt: 0 of the first."""
    return f"{exchange_id}{_AGAIN}{attempt}" if attempt else exchange_id


def exchange_of(reservation: str) -> str:
    """Return the id of the exchange that a reservation is of."""
    return reservation.partition(_AGAIN)[0]
