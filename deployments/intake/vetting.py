"""
Gates 0 to 4 in order, then signature and engines: everything a version is known by.

No isolation of its own: the sandbox's child calls it for uploads, ``slipway models check`` for a
file of one's own.
"""

import warnings

from cluster.contracts import ArtifactFormat, CompiledForm, VetReport, VetRequest
from cluster.errors import UploadRefused
from deployments.engines.canary import canary_batch
from deployments.engines.choose import EngineChoice, choose_engines
from deployments.engines.compiled import SHORT_PATH_COST_S, compiled_form
from deployments.engines.loaded import LoadedModel
from deployments.intake.canary import compare_canary, fitting_rows, run_canary
from deployments.intake.examples import check_examples
from deployments.intake.formats import detect
from deployments.intake.libraries import library_versions
from deployments.intake.limits import Limits
from deployments.intake.reader import read_model_with_notes
from deployments.signatures.derive import derive_signature
from deployments.signatures.refine import refine_signature

#: Larger arrays stay in Predictors; the ingress has other uses for its memory.
MAX_COMPILED_BYTES = 16 * 1024 * 1024


def vet(
    content: bytes,
    request: VetRequest,
    *,
    limits: Limits | None = None,
    extra_names: frozenset[str] = frozenset(),
) -> VetReport:
    """
    The report on an acceptable file.

    Raises:
        UploadRefused: A gate refused; context has gate, reason, name and code.
        InvalidInput: The examples do not fit the model.
    """
    with warnings.catch_warnings():
        # Overflows in canary rows and inconsistent versions are found by looking, not by warning.
        # One filter alone: scikit-learn sets up all there are again for each tree of a forest.
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        return _vet(content, request, limits or Limits(), extra_names)


def _vet(
    content: bytes, request: VetRequest, limits: Limits, extra_names: frozenset[str]
) -> VetReport:
    file_format = detect(content)
    _require_permitted(file_format, request.allowed_formats)
    reading = read_model_with_notes(content, file_format, limits=limits, extra_names=extra_names)
    estimator = reading.estimator
    signature = derive_signature(estimator)
    if request.examples is not None:
        signature = refine_signature(signature, estimator, request.examples.instances)
    probe = fitting_rows(signature, canary_batch(signature))
    choice = choose_engines(estimator, signature, probe)
    model = LoadedModel.build(estimator, signature, choice.engines, compiled=choice.compiled)
    canary = run_canary(model, signature, probe)
    compare_canary(model, signature, request.recorded_canary)
    if request.examples is not None:
        check_examples(model, signature, request.examples)
    return VetReport(
        format=file_format,
        signature=signature,
        engines=choice.engines,
        engine_notes=choice.notes,
        cost_per_row_s=choice.cost_per_row_s,
        memory_bytes=model.memory_bytes,
        warnings=reading.notes,
        canary=canary,
        libraries=library_versions(extra_names),
        compiled=_compiled(model, choice),
        parity_s=choice.parity_s,
    )


def _compiled(model: LoadedModel, choice: EngineChoice) -> CompiledForm | None:
    """The arrays for the short path, where some method is quick enough for it by them."""
    compiled = model.compiled
    if compiled is None or compiled.memory_bytes > MAX_COMPILED_BYTES:
        return None
    costs = choice.cost_per_row_s
    chosen = [costs[m] for m, name in choice.engines.items() if name == compiled.name]
    # The ingress measures anew; here a busy machine is not to decide for good.
    if not chosen or min(chosen) > 2 * SHORT_PATH_COST_S:
        return None
    return compiled_form(compiled.dump())


def _require_permitted(file_format: ArtifactFormat, allowed: tuple[ArtifactFormat, ...]) -> None:
    if file_format not in allowed:
        raise UploadRefused(
            f"your role may not upload {file_format} files: save the model with "
            "skops.io.dump(model, 'model.skops') and upload that, or ask an administrator for the "
            "role publisher",
            gate="gate0",
            reason="format",
            code="format_not_permitted",
        )
