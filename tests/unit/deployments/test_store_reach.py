"""A Loader starts where it sees the one store that all the others see."""

from pathlib import Path
from typing import Any

import pytest

from cluster.errors import InsecureSettings
from cluster.settings import Settings
from deployments.store_reach import require_one_store

PINNED = {"CPU": 0.1, "slipway_store": 1.0}


def _settings(home: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, slipway_home=home, **values)


@pytest.mark.parametrize("store", ["", "file:///srv/models"])
def test_files_on_one_of_several_nodes_are_refused(tmp_path: Path, store: str) -> None:
    settings = _settings(tmp_path, artifact_store=store)

    with pytest.raises(InsecureSettings, match=r"2 nodes.*ARTIFACT_STORE_SHARED.*slipway_store: 1"):
        require_one_store(settings, nodes=2, resources={"CPU": 0.1})


@pytest.mark.parametrize(
    ("values", "nodes", "resources"),
    [
        # One machine: whatever is on it is the same for all.
        ({}, 1, {}),
        # The operator says that it is the same directory.
        ({"artifact_store_shared": True}, 2, {}),
        # All Loaders run where the files are.
        ({}, 2, PINNED),
        # Every node reaches a bucket.
        ({"artifact_store": "s3://bucket/prefix"}, 2, {}),
    ],
)
def test_a_store_that_all_loaders_see_is_accepted(
    tmp_path: Path, values: dict[str, Any], nodes: int, resources: dict[str, float]
) -> None:
    require_one_store(_settings(tmp_path, **values), nodes=nodes, resources=resources)
