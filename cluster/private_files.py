"""Files that only their owner may read: written whole or not at all, mode 0600 from the start."""

import os
import secrets
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def private_directory(path: Path) -> Path:
    """``path``, made with mode 0700 if it is missing."""
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` atomically; a reader sees the old content or the new."""
    private_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def generated_secret(path: Path, *, size_bytes: int = 32) -> str:
    """The secret in ``path``; random, URL-safe and written there if the file is missing."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        secret = secrets.token_urlsafe(size_bytes)
        write_private(path, secret)
        return secret
