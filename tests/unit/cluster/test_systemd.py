"""The units that an operator copies, checked by systemd itself and against the settings."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster.secrets import OBJECT_STORE_SECRETS
from cluster.setting_sources import SECRET_NAMES
from cluster.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = REPOSITORY / "cluster" / "systemd"
UNITS = sorted(SHIPPED.glob("*.service"))
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
VARIABLES = dict(
    line.split("=", 1)
    for line in (SHIPPED / "slipway.env").read_text().splitlines()
    if not line.startswith("#")
)


def test_there_is_a_unit_for_each_part() -> None:
    expected = {"slipway", "slipway-backup", "slipway-edge", "slipway-prometheus"}

    assert {unit.stem for unit in UNITS} == expected


def test_the_environment_names_settings_and_files_of_secrets() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"HOME", "ENV_FILE"}
    secrets = {f"{name}_FILE" for name in (*SECRET_NAMES, *OBJECT_STORE_SECRETS)}

    assert VARIABLES.keys() <= known | secrets | {"BACKUP_PASSPHRASE_FILE"}
    assert {"SECRET_KEY_FILE", "DATABASE_URL_FILE", "REDIS_URL_FILE"} <= VARIABLES.keys()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_operations_starts_the_unit_and_makes_what_it_needs(unit: Path) -> None:
    text = unit.read_text()

    assert f"systemctl enable --now {unit.stem}" in OPERATIONS
    for place in re.findall(r"(?:/etc/slipway|/var/lib|/var/backups)/[\w./-]+", text):
        assert place in OPERATIONS or Path(place).parent.as_posix() in OPERATIONS


def test_operations_makes_every_secret_that_the_environment_names() -> None:
    for name, path in VARIABLES.items():
        if name.endswith("_FILE") and "/secrets/" in path:
            assert re.search(rf"\b{Path(path).name}\b", OPERATIONS), name


def test_nginxs_workers_own_the_directory_that_is_made_for_them() -> None:
    """Debian's nginx.conf names them; its program, with another file, takes nobody."""
    text = (SHIPPED / "slipway-edge.service").read_text()
    owner = re.search(r"install -d -m 0700 -o (\S+) /var/lib/slipway-edge", OPERATIONS)

    assert owner is not None
    assert re.findall(r"^Exec(\w+)=.*\buser (\S+);", text, re.MULTILINE) == [
        ("StartPre", owner.group(1)),
        ("Start", owner.group(1)),
    ]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is missing: apt-get install systemd"
)
def test_systemd_understands_them(tmp_path: Path) -> None:
    """Programs that this machine may lack are replaced by one that it has."""
    for unit in UNITS:
        text = re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")
