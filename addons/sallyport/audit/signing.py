"""The key that signs checkpoints: Ed25519, in a file of the confdir that only its owner reads."""

from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_new

KEY_FILE = "audit-signing.key"


class Signer:
    """Signs with the key of one folder."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        """32 bytes."""

    @classmethod
    def of(cls, confdir: Path) -> "Signer":
        """Return the signer of a folder; makes its key at first use. Raises OperatorError."""
        path = confdir / KEY_FILE
        try:
            if not path.exists():
                _make(path)
            if path.stat().st_mode & 0o077:
                raise OperatorError(str(path), "others may read or change it", f"chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise OperatorError(
                str(path),
                f"it cannot be read or made ({error.strerror})",
                "Use --confdir with your own folder",
            ) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise OperatorError(
                str(path), "it holds no Ed25519 key", "Put the right one there, or move it away for a new one"
            )
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._key.sign(message)

    def public_pem(self) -> str:
        """Return the public key as PEM."""
        encoded = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded.decode()


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether a signature is that of a key, 32 bytes, over a message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _make(path: Path) -> None:
    """Write a new key; of two that come at once, the first one stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with suppress(FileExistsError):
        write_new(path, pem, PRIVATE)
