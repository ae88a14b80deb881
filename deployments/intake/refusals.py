"""
How the intake says no: one constructor for the error, and the advice that goes with a name.

Advice is chosen by the exact name first, then by the longest module prefix.
"""

from cluster.errors import UploadRefused

_SKOPS_OR_NUMPY = (
    "replace it by a scikit-learn transformer, a numpy function such as numpy.log1p, or do that "
    "step before the call"
)
_ONNX = "export the model to ONNX and upload that file, or use a scikit-learn estimator"
_OWN_CLASS = (
    "classes of your own cannot be uploaded: use scikit-learn's transformers, or ask the operator "
    "to install the package and list the class (INTAKE_EXTRA_NAMES)"
)
_EXACT = {
    "builtins.getattr": (
        "methods such as str.lower cannot be uploaded: use the vectorizer's own lowercase and "
        "token_pattern settings"
    ),
    "joblib.memory.Memory": "set memory=None on the pipeline and save it again",
    "joblib.numpy_pickle.NDArrayWrapper": "save the model again with joblib 1.0 or later",
    "joblib.numpy_pickle.ZNDArrayWrapper": "save the model again with joblib 1.0 or later",
    "xgboost.core.Booster": "a raw Booster has no predict contract here: " + _ONNX,
    "lightgbm.basic.Booster": "a raw Booster has no predict contract here: " + _ONNX,
}
_BY_PREFIX = {
    "__main__": _OWN_CLASS,
    "cloudpickle": "a lambda or local function was saved: " + _SKOPS_OR_NUMPY,
    "joblib.externals": "a lambda or local function was saved: " + _SKOPS_OR_NUMPY,
    "dill": "a lambda or local function was saved: " + _SKOPS_OR_NUMPY,
    "types": "a lambda or local function was saved: " + _SKOPS_OR_NUMPY,
    "xgboost": _ONNX,
    "lightgbm": _ONNX,
    "catboost": _ONNX,
    "torch": "torch models are not served as pickles: " + _ONNX,
    "keras": "keras models are not served as pickles: " + _ONNX,
    "tensorflow": "tensorflow models are not served as pickles: " + _ONNX,
    "scipy.stats": "distributions belong to the search: upload best_estimator_ instead",
    "sklearn": (
        "this scikit-learn object is not among those that can be uploaded; save a fitted "
        "estimator or pipeline made of public scikit-learn classes"
    ),
    "numpy": "numpy functions that can be uploaded are the plain ones, such as numpy.log1p",
    "pandas": "convert data frames and series to numpy arrays before they go into the model",
    "polars": "convert data frames and series to numpy arrays before they go into the model",
    "os": "a model file never needs it; save the model again from a clean session",
    "posix": "a model file never needs it; save the model again from a clean session",
    "builtins": "save the model again without functions of your own",
}


def refusal(
    sentence: str,
    *,
    gate: str,
    reason: str,
    name: str = "",
    code: str = "upload_refused",
) -> UploadRefused:
    """The error to raise: ``gate`` "gate0" to "gate3", ``reason`` one word of the corpus."""
    return UploadRefused(sentence, gate=gate, reason=reason, name=name, code=code)


def advice_for(name: str) -> str:
    """What the uploader can do about ``name`` (``module.qualname``); never empty."""
    if name in _EXACT:
        return _EXACT[name]
    prefix = name
    while prefix:
        if prefix in _BY_PREFIX:
            return _BY_PREFIX[prefix]
        prefix = prefix.rpartition(".")[0]
    return _OWN_CLASS


def unlisted(name: str, *, gate: str = "gate2", reason: str = "global") -> UploadRefused:
    """The refusal of a name that is not on the list, with what to do instead."""
    if name.startswith("scipy.stats."):
        reason = "scipy_distribution"
    return refusal(
        f"{gate}: the file names {name!r}, which is not on the list of what a model may contain: "
        f"{advice_for(name)}",
        gate=gate,
        reason=reason,
        name=name,
    )
