"""
Case 103 at the Loader's door: every honest model passes all gates in a locked-down child.

By default a seeded tenth of the models; the whole with SLIPWAY_FULL=1.
"""

import os
import pickle
import random
from collections.abc import Callable, Iterator

import anyio
import pytest

from cluster.contracts import METHODS
from cluster.errors import UploadRefused
from cluster.settings import Settings
from deployments.intake.derivation.specimen import Specimen
from deployments.intake.derivation.zoo import SOURCES
from deployments.loader import LANES, Loader
from tests.unit.deployments.told_sandbox import request_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]
IS_FULL = os.environ.get("SLIPWAY_FULL") == "1"
SHARE = 0.1
#: What is honest and yet nothing to predict rows with.
NOT_SERVABLE = frozenset({"no_method", "input_kind", "root", "unfitted"})
#: Classes that have a method, but for something else than rows of a table; a selector that was
#: never fitted; a search that kept no best estimator.
OTHERS = (
    "DictVectorizer",
    "FeatureHasher",
    "GridSearchCV[scorers]",
    "LabelBinarizer",
    "LabelEncoder",
    "MultiLabelBinarizer",
    "PatchExtractor",
    "make_column_selector",
)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """A Loader with a store and a sandbox of its own."""
    made = Loader(settings=Settings(_env_file=None, slipway_home=tmp_path_factory.mktemp("home")))
    yield made
    made.close()


def is_chosen(specimen: Specimen) -> bool:
    """The same specimens each time."""
    return IS_FULL or random.Random(specimen.name).random() < SHARE


def is_servable(specimen: Specimen) -> bool:
    """Whether its class answers rows at all."""
    has_method = any(hasattr(specimen.estimator, method) for method in METHODS)
    return has_method and not specimen.name.startswith(OTHERS)


def is_expected(specimen: Specimen, reason: str) -> bool:
    """Whether the specimen is to be refused for this reason."""
    return reason in NOT_SERVABLE and not is_servable(specimen)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
async def test_honest_models_pass_every_gate_and_are_released(
    loader: Loader, source: Callable[[], Iterator[Specimen]]
) -> None:
    faults: list[str] = []
    lanes = anyio.CapacityLimiter(LANES)

    async def one(specimen: Specimen) -> None:
        content = pickle.dumps(specimen.estimator)
        async with lanes:
            try:
                await loader.vet(content, request_for(content))
            except UploadRefused as error:
                if not is_expected(specimen, str(error.context["reason"])):
                    faults.append(f"{specimen.name}: {error.message}")
                return
        request = request_for(content)
        if not is_servable(specimen) or await loader.fetch(request.sha256, len(content)) != content:
            faults.append(f"{specimen.name} was not to be released")

    async with anyio.create_task_group() as group:
        for specimen in filter(is_chosen, source()):
            group.start_soon(one, specimen)

    assert faults == []


def test_a_tenth_is_some_of_every_kind() -> None:
    chosen = sum(is_chosen(specimen) for source in SOURCES for specimen in source())

    assert chosen > 40  # of more than five hundred
