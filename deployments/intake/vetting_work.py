"""What a vetting child of ours does with its job: vet a file, or replay one batch."""

from collections.abc import Callable

from cluster.contracts import Examples, JsonObject, SandboxState, VetRequest
from cluster.errors import PredictionFailed, UploadRefused
from deployments.engines.loaded import LoadedModel
from deployments.intake.batches import batch_from_json
from deployments.intake.child import Answer, Job, Work
from deployments.intake.formats import detect
from deployments.intake.limits import Limits
from deployments.intake.preload import preload
from deployments.intake.reader import read_model
from deployments.intake.verdict import report_to_json
from deployments.intake.vetting import vet
from deployments.signatures.storage import signature_from_json

#: Formats that only a whole sandbox may read; skops and ONNX describe data, not a program.
_PROGRAMS = frozenset({"pickle", "joblib"})


def prepare(config: JsonObject) -> Work:
    """The work under the Loader's limits, with everything it will ever import already there."""
    limits = Limits(**config["limits"])
    extra_names = frozenset(config["extra_names"])
    preload(extra_names)

    def work(job: Job, state: SandboxState) -> Answer:
        kinds: dict[str, Callable[[], Answer]] = {
            "vet": lambda: _vet(job, state, limits, extra_names),
            "replay": lambda: _replay(job, limits, extra_names),
        }
        return kinds[job.header["kind"]]()

    return work


def _vet(job: Job, state: SandboxState, limits: Limits, extra_names: frozenset[str]) -> Answer:
    (content,) = job.blobs
    if not state.is_whole and detect(content) in _PROGRAMS:
        raise UploadRefused(
            "pickle and joblib files are closed here, since this server's kernel lacks a layer of "
            "the sandbox they need: save the model with skops.io.dump and upload that file",
            gate="sandbox",
            reason="sandbox",
        )
    request = _request(job.header["request"])
    report = vet(content, request, limits=limits, extra_names=extra_names)
    form = report.compiled
    return Answer(
        value={"report": report_to_json(report)}, blob=b"" if form is None else form.content
    )


def _request(value: JsonObject) -> VetRequest:
    examples = value["examples"]
    return VetRequest(
        sha256=value["sha256"],
        size_bytes=value["size_bytes"],
        allowed_formats=tuple(value["allowed_formats"]),
        examples=Examples(**examples) if examples is not None else None,
        request_id=value["request_id"],
        recorded_canary=value["recorded_canary"],
    )


def _replay(job: Job, limits: Limits, extra_names: frozenset[str]) -> Answer:
    (content,) = job.blobs
    header = job.header
    estimator = read_model(content, header["format"], limits=limits, extra_names=extra_names)
    signature = signature_from_json(header["signature"])
    model = LoadedModel.build(estimator, signature, header["engines"])
    try:
        model.run(header["method"], batch_from_json(header["batch"]))
    except PredictionFailed:
        return Answer(value={"replay": "raised"})
    return Answer(value={"replay": "answered"})
