"""What may be imported to run a compiled model: the ingress holds secrets and no libraries."""

import subprocess
import sys

import pytest
from sklearn.ensemble import RandomForestClassifier

from deployments.engines.compile import compile_model
from tests.unit.deployments.engines.zoo import fitted

PROGRAM = """
import sys
import numpy as np
from cluster.contracts import Batch
from deployments.engines.compiled import CompiledModel

model = CompiledModel.load(sys.stdin.buffer.read())
values = model.run("predict", Batch(rows=1, matrix=np.zeros((1, model.width))))
heavy = {"sklearn", "scipy", "pandas", "joblib", "skops", "onnx", "onnxruntime", "ray"}
print(values.tolist(), sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("name", ["forest", "scaled logistic", "histograms, categories"])
def test_a_compiled_model_runs_with_numpy_alone(name: str) -> None:
    estimator = fitted(name)
    content = compile_model(estimator, estimator.n_features_in_).dump()

    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=content, capture_output=True, check=True
    )

    assert ran.stdout.decode().strip().endswith(" []")


def test_compiling_leaves_the_trees_as_they_were() -> None:
    forest = RandomForestClassifier(3, random_state=0).fit([[0.0], [1.0]], [0, 1])
    before = [tree.tree_.value.copy() for tree in forest.estimators_]

    compile_model(forest, 1)

    assert all(
        (tree.tree_.value == value).all()
        for tree, value in zip(forest.estimators_, before, strict=True)
    )
