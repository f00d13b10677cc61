"""Seals what must not stand readable in the ledger: signed URLs. The key is a file of its own beside it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.core.errors import LedgerError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Seal:
    """Encrypts and decrypts with the key in `path`, which is made when something is first sealed.

    `used` says that something was sealed before: then the key is never made anew.
    """

    def __init__(self, path: Path, *, used: bool) -> None:
        self._path = path
        self.used = used
        self._fernet: Fernet | None = None

    def close(self, text: str, scan: int) -> str:
        """`text` and the number of the scan that found it, sealed."""
        token = self._loaded().encrypt(f"{scan} {text}".encode()).decode()
        self.used = True
        return token

    def open(self, sealed: str) -> tuple[str, int]:
        """What `close` was given. Raises LedgerError when the key file is missing or another one."""
        from cryptography.fernet import InvalidToken

        try:
            scan, _, text = self._loaded().decrypt(sealed).decode().partition(" ")
        except InvalidToken:
            raise LedgerError(
                f"{self._path} is not the key that the signed URLs of this ledger were sealed with", "restore that file"
            ) from None
        return text, int(scan)

    def url(self, sealed: str | None) -> str | None:
        """The whole URL where a part of it was sealed. Raises LedgerError as `open` does."""
        return self.open(sealed)[0] if sealed else None

    def _loaded(self) -> "Fernet":
        if self._fernet is None:
            from cryptography.fernet import Fernet

            try:
                key = self._path.read_bytes()
            except FileNotFoundError:
                if self.used:
                    raise LedgerError(
                        f"{self._path} is missing: the signed URLs in the ledger cannot be read without it",
                        "restore that file, or start under a new name",
                    ) from None
                key = _create(self._path, Fernet.generate_key())
            try:
                self._fernet = Fernet(key)
            except ValueError:
                raise LedgerError(f"{self._path} holds no key", "restore that file") from None
        return self._fernet


def _create(path: Path, key: bytes) -> bytes:
    """On disk, name and all, before anything is sealed with it."""
    unfinished = path.with_suffix(".key.new")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
        os.fsync(fd)
    finally:
        os.close(fd)
    unfinished.replace(path)
    sync_directory(path.parent)
    return key


def sync_directory(path: Path) -> None:
    """Makes the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
