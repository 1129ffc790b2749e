"""Sets of small numbers as the bits of one integer: joining many of them costs one step."""


def places(bits: int) -> list[int]:
    """Return the places of the bits that are set, lowest first."""
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
