"""A company's own transformer, from an installed package to a prediction (docs/custom-code.md)."""

import json
import os
import pickle
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from cluster.settings import Settings
from tests.integration.models_api.real_platform import Platform, predict, upload
from tests.integration.one_process import running_services
from tests.unit.deployments.intake.company import Doubler

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]
STEPS = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class LogPrice(TransformerMixin, BaseEstimator):
    def __init__(self, offset=1.0):
        self.offset = offset

    def fit(self, x, y=None):
        self.n_features_in_ = np.asarray(x).shape[1]
        return self

    def transform(self, x):
        return np.log(np.asarray(x, dtype=float) + self.offset)
"""
FIT = """
import pickle, sys
from acme_pricing.steps import LogPrice
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
x = [[1.0, 2.0], [2.0, 3.0], [4.0, 1.0]]
sys.stdout.buffer.write(pickle.dumps(make_pipeline(LogPrice(), Ridge()).fit(x, [1.0, 2.0, 3.0])))
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment like ours, with the company's package installed in it as well."""
    home = tmp_path_factory.mktemp("company")
    venv.create(home, symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / version / "site-packages"
    (packages / "ours.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{ROOT}\n")
    (packages / "acme_pricing").mkdir()
    (packages / "acme_pricing" / "__init__.py").touch()
    (packages / "acme_pricing" / "steps.py").write_text(STEPS)
    return home


def run(
    company: Path, *words: str, names: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A command in the company's environment, with its list if there is one."""
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": "", "SLIPWAY_HOME": str(company)}
    if names is not None:
        environment["INTAKE_EXTRA_NAMES"] = str(names)
    return subprocess.run(
        [str(company / "bin" / "python"), *words],
        env=environment,
        cwd=company,
        capture_output=True,
        check=False,
    )


def test_an_installed_class_is_taken_once_it_is_listed(company: Path) -> None:
    model, names = company / "model.pkl", company / "names.txt"
    fitted = run(company, "-c", FIT)
    assert fitted.returncode == 0, fitted.stderr
    model.write_bytes(fitted.stdout)
    names.write_text("# ours\nacme_pricing.steps.LogPrice  # since May\n")
    command = ("-c", "from serve_app.cli.main import main; main()")
    check = (*command, "models", "check", str(model), "--json")

    without, listed = run(company, *check), run(company, *check, names=names)

    refusal = json.loads(without.stdout)
    assert without.returncode == 1
    assert refusal["name"] == "acme_pricing.steps.LogPrice"
    assert "INTAKE_EXTRA_NAMES" in refusal["error"]
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)["methods"] == ["predict"]


async def test_a_listed_class_predicts_over_http(
    database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("tests.unit.deployments.intake.company.Doubler\n")
    settings = Settings(
        _env_file=None,
        slipway_home=tmp_path,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        secret_key=SecretStr("k" * 40),
        default_rate_limit=1_000_000,
        intake_extra_names=names,
    )
    async with running_services(settings, replica_id="custom") as services:
        client = await Platform(services).user()
        model = make_pipeline(Doubler(factor=3), LinearRegression())
        rows = [[1.0], [2.0], [5.0]]
        content = pickle.dumps(model.fit(np.array(rows), [3.0, 6.0, 15.0]))
        made = await upload(client, content)
        answers = await predict(client, rows)

    assert made.status_code == 201, made.text
    np.testing.assert_allclose(np.array(answers), [3.0, 6.0, 15.0], atol=1e-9)
