"""Files of ours alone: mode, atomicity, and secrets that stay the same."""

import stat
from pathlib import Path

from cluster.private_files import generated_secret, write_private


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "secrets" / "key", "value")

    assert stat.S_IMODE((tmp_path / "secrets" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_private(tmp_path / "key", "old")
    write_private(tmp_path / "key", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_text() == "new"


def test_a_generated_secret_is_kept(tmp_path: Path) -> None:
    secret = generated_secret(tmp_path / "key")

    assert generated_secret(tmp_path / "key") == secret
    assert len(secret) >= 43  # 256 bits in base64


def test_two_secrets_differ(tmp_path: Path) -> None:
    assert generated_secret(tmp_path / "a") != generated_secret(tmp_path / "b")
