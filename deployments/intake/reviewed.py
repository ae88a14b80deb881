"""
Names that were added to the derived ones by hand, each after reading what it does.

REFERENCES may be kept in a model and are called later by scikit-learn with data of the caller;
each is a pure function of its arguments or a plain type.  VALUE_TYPES are the only classes that
may be kept as a value (``dtype=np.float32``).
"""

_NUMPY_FUNCTIONS = (
    "abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip conj cos "
    "cosh cumsum deg2rad degrees diff divide exp exp2 expm1 fabs floor heaviside hypot isfinite "
    "isinf isnan log log10 log1p log2 logaddexp max maximum mean median min minimum mod multiply "
    "nan_to_num negative positive power rad2deg radians ravel reciprocal rint round sign sin sinh "
    "sqrt square std subtract sum tan tanh trunc var"
)
_NUMPY_TYPES = (
    "bool bool_ bytes_ complex128 complex64 datetime64 float16 float32 float64 floating generic "
    "int16 int32 int64 int8 integer number object_ str_ timedelta64 uint16 uint32 uint64 uint8"
)
_BUILTIN_TYPES = "bool bytes complex dict float frozenset int list object set str tuple"
_SCIPY_SPECIAL = (
    "boxcox boxcox1p cbrt expit expm1 exprel gammaln inv_boxcox log1p log_expit logit xlogy"
)

#: module -> names that may be kept.
REFERENCES: dict[str, tuple[str, ...]] = {
    "numpy": tuple((_NUMPY_FUNCTIONS + " ndarray").split()),
    "scipy.special._ufuncs": tuple(_SCIPY_SPECIAL.split()),
    "scipy.special": tuple(_SCIPY_SPECIAL.split()),
    "pandas": ("Index", "RangeIndex", "NA"),
    "pandas.arrays": ("StringArray",),
    "sklearn.compose._column_transformer": ("_is_empty_column_selection",),
}
#: module -> types that may be kept as values.
VALUE_TYPES: dict[str, tuple[str, ...]] = {
    "numpy": tuple(_NUMPY_TYPES.split()),
    "builtins": tuple(_BUILTIN_TYPES.split()),
}
_CYTHON_LOSSES = (
    "CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss "
    "CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss "
    "CyPinballLoss __pyx_unpickle_CyHalfMultinomialLoss"
)
#: Names of other library versions -> the pair they are today.  Protocol 2 writes Python 2's names.
ALIASES: dict[tuple[str, str], tuple[str, str]] = {
    **{("__builtin__", name): ("builtins", name) for name in _BUILTIN_TYPES.split()},
    ("__builtin__", "unicode"): ("builtins", "str"),
    ("__builtin__", "long"): ("builtins", "int"),
    ("__builtin__", "xrange"): ("builtins", "range"),
    ("__builtin__", "slice"): ("builtins", "slice"),
    ("__builtin__", "bytearray"): ("builtins", "bytearray"),
    # scikit-learn 1.8 and older compiled its losses without their package's name.
    **{("_loss", name): ("sklearn._loss._loss", name) for name in _CYTHON_LOSSES.split()},
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"): ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"): ("numpy._core.numeric", "_frombuffer"),
    ("pandas.core.indexes.base", "Index"): ("pandas", "Index"),
    ("pandas.core.indexes.range", "RangeIndex"): ("pandas", "RangeIndex"),
    ("pandas.core.arrays.string_", "StringDtype"): ("pandas", "StringDtype"),
    ("pandas.core.arrays.string_", "StringArray"): ("pandas.arrays", "StringArray"),
    ("pandas.core.arrays.string_arrow", "ArrowStringArray"): ("pandas.arrays", "ArrowStringArray"),
    ("pandas._libs.missing", "NA"): ("pandas", "NA"),
}
#: Names that no list, derived or the operator's, may ever bring in.
NEVER = frozenset(
    {
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "builtins.setattr",
        "builtins.delattr",
        "builtins.open",
        "builtins.__import__",
        "builtins.compile",
        "builtins.map",
        "builtins.type",
        "builtins.input",
        "builtins.globals",
        "copyreg._reconstructor",
        "numpy.core._ufunc_reconstruct",
        "numpy._core._ufunc_reconstruct",
        "scipy._lib._uarray._backend.unpickle_function",
    }
)
NEVER_MODULES = (
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "importlib",
    "ctypes",
    "socket",
    "shutil",
    "pickle",
    "cloudpickle",
    "operator",
    "runpy",
    "pty",
    "joblib",
    "sklearn.externals",
    "sklearn.datasets",
    "scipy.stats",
    "numpy.f2py",
    "numpy.testing",
)


def is_forbidden(module: str, name: str) -> bool:
    """True for a name that must not be listed by anybody."""
    if f"{module}.{name}" in NEVER:
        return True
    return any(module == banned or module.startswith(banned + ".") for banned in NEVER_MODULES)
