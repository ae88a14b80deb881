"""Which files a child reads when this kernel lacks a layer of the sandbox."""

import pickle
from dataclasses import asdict

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from cluster.contracts import SandboxState
from cluster.errors import UploadRefused
from deployments.engines.compiled import CompiledModel
from deployments.intake import vetting_work
from deployments.intake.child import Job, Work
from deployments.intake.limits import Limits
from deployments.intake.verdict import report_from_json
from tests.unit.deployments.told_sandbox import request_for

MODEL = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
LACKING = [
    SandboxState(landlock_abi=0, seccomp=True, rlimits=True),
    SandboxState(landlock_abi=7, seccomp=False, rlimits=True),
    SandboxState(landlock_abi=7, seccomp=True, rlimits=False),
]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    # Here every file can be opened, so nothing need be there beforehand.
    monkeypatch.setattr(vetting_work, "preload", lambda _: None)
    return vetting_work.prepare({"limits": asdict(Limits()), "extra_names": []})


def _job(content: bytes) -> Job:
    return Job(header={"kind": "vet", "request": asdict(request_for(content))}, blobs=(content,))


@pytest.mark.parametrize("state", LACKING)
def test_pickle_closes_and_skops_stays(work: Work, state: SandboxState) -> None:
    with pytest.raises(UploadRefused, match=r"closed here.*skops\.io\.dump") as caught:
        work(_job(pickle.dumps(MODEL)), state)
    answer = work(_job(skops.io.dumps(MODEL)), state)

    assert caught.value.context["gate"] == "sandbox"
    assert report_from_json(answer.value["report"]).format == "skops"


def test_a_whole_sandbox_reads_pickle(work: Work) -> None:
    whole = SandboxState(landlock_abi=1, seccomp=True, rlimits=True)
    # Twenty trees: faster when compiled on any machine.
    forest = RandomForestRegressor(20, random_state=0).fit(np.eye(3), [1.0, 2.0, 3.0])
    answer = work(_job(pickle.dumps(forest)), whole)
    report = report_from_json(answer.value["report"], answer.blob)

    assert report.format == "pickle"
    assert report.compiled is not None
    assert CompiledModel.load(report.compiled.content).name == "trees"
