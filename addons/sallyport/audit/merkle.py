"""Merkle trees as in RFC 9162, section 2.1: SHA-256, 0x00 before a leaf, 0x01 before a node."""

from collections.abc import Iterable, Sequence
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two others."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in memory that grows with their logarithm."""
    stack: list[tuple[int, bytes]] = []
    """Whole subtrees from left to right, each with its height; heights fall strictly."""
    for leaf in leaves:
        height, node = 0, leaf
        while stack and stack[-1][0] == height:
            node = node_hash(stack.pop()[1], node)
            height += 1
        stack.append((height, node))
    if not stack:
        return sha256(b"").digest()
    _, node = stack.pop()
    while stack:
        node = node_hash(stack.pop()[1], node)
    return node


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of a leaf among leaf hashes, from the leaf up."""
    path: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        pairs = range(0, len(level) - 1, 2)
        odd = level[-1:] if len(level) % 2 else []
        level = [*(node_hash(level[i], level[i + 1]) for i in pairs), *odd]
        index //= 2
    return path
