"""Sealing of device and system passwords, so that the database alone gives none away."""

import base64
import binascii
import contextlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.access.errors import Unsealable

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12


class Sealer:
    """AES-256-GCM under one key. key: 32 bytes, as `read_key` or `load_key` gives them."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a secret key has {KEY_BYTES} bytes, not {len(key)}")
        self._master = key
        self._cipher = AESGCM(self.derive("sealed secrets"))

    def seal(self, text: str) -> bytes:
        """Version byte, nonce, then the sealed text."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, text.encode(), _VERSION)

    def open(self, sealed: bytes) -> str:
        """Raises: Unsealable where the key is another or a byte was changed."""
        head = len(_VERSION) + _NONCE_BYTES
        if sealed[:1] != _VERSION or len(sealed) < head:
            raise Unsealable
        try:
            return self._cipher.decrypt(sealed[1:head], sealed[head:], _VERSION).decode()
        except InvalidTag:
            raise Unsealable from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose of the same installation (HKDF-SHA-256)."""
        return HKDF(
            algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"hutong {purpose}".encode()
        ).derive(self._master)


def new_key() -> str:
    """A fresh key as text, as HUTONG_SECRET_KEY holds it."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def read_key(text: str) -> bytes:
    """The key in HUTONG_SECRET_KEY: 32 bytes in base64. Raises: ValueError, without the text."""
    try:
        key = base64.b64decode(text.strip().encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"HUTONG_SECRET_KEY must be {KEY_BYTES} bytes in base64")
    return key


def load_key(file: Path) -> bytes:
    """The key in file, which is made, mode 0600, where it does not exist.

    Raises: OSError; ValueError for a file that holds something else.
    """
    if not file.exists():
        # Written aside and linked in whole: another process never reads half a key.
        aside = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as opened:
                opened.write(new_key() + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(aside, file)
        finally:
            aside.unlink()
    try:
        return read_key(file.read_text())
    except ValueError:
        raise ValueError(f"the secret key in {file} is not {KEY_BYTES} bytes in base64") from None
