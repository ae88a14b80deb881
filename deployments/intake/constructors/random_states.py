"""numpy random states: MT19937 and PCG64, their positions and words checked first."""

from typing import Any

import numpy as np

from deployments.intake.constructors.checks import is_count, is_number, wrong
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending

BIT_GENERATOR = "numpy.random._pickle.__bit_generator_ctor"
RANDOM_STATE = "numpy.random._pickle.__randomstate_ctor"
GENERATOR = "numpy.random._pickle.__generator_ctor"
SEED_SEQUENCE = "numpy.random.bit_generator.__pyx_unpickle_SeedSequence"
_MT_WORDS = 624
_PCG_BITS = 128
_KINDS: dict[Any, type[Any]] = {
    "MT19937": np.random.MT19937,
    "PCG64": np.random.PCG64,
    np.random.MT19937: np.random.MT19937,
    np.random.PCG64: np.random.PCG64,
}


def bit_generator(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``__bit_generator_ctor(MT19937)`` or its name; the numbers come with the state."""
    cls = _KINDS.get(args[0]) if len(args) == 1 else None
    if cls is None:
        raise wrong(BIT_GENERATOR, "is neither MT19937 nor PCG64", reason="native")

    def finish(_: Machine, state: Any) -> Any:
        numbers = state[0] if type(state) is tuple and len(state) == 2 else state  # noqa: PLR2004 - state and seeds
        instance = cls(0)
        instance.state = check_state(numbers, cls.__name__)
        return instance

    return Pending(BIT_GENERATOR, finish)


def check_state(state: Any, kind: str) -> dict[str, Any]:
    """``state`` as numpy's setter takes it, rebuilt from checked parts only."""
    if type(state) is not dict or state.get("bit_generator") != kind:
        raise wrong(BIT_GENERATOR, "its state has another form", reason="native")
    inner = state.get("state")
    if type(inner) is not dict:
        raise wrong(BIT_GENERATOR, "its state has another form", reason="native")
    if kind == "MT19937":
        return {"bit_generator": kind, "state": _mersenne(inner)}
    words = (inner.get("state"), inner.get("inc"))
    if not all(type(word) is int and 0 <= word < 1 << _PCG_BITS for word in words):
        raise wrong(BIT_GENERATOR, "its words are no 128-bit numbers", reason="native")
    has, spare = state.get("has_uint32", 0), state.get("uinteger", 0)
    if has not in {0, 1} or not is_count(spare, at_most=(1 << 32) - 1):
        raise wrong(BIT_GENERATOR, "its spare word is out of range", reason="native")
    plain = {"state": words[0], "inc": words[1]}
    return {"bit_generator": kind, "state": plain, "has_uint32": int(has), "uinteger": spare}


def _mersenne(inner: dict[Any, Any]) -> dict[str, Any]:
    key, position = inner.get("key"), inner.get("pos")
    good = isinstance(key, np.ndarray) and key.dtype == np.uint32 and key.shape == (_MT_WORDS,)
    # numpy does not bound ``pos``: beyond 624 it reads outside its own state.
    if not good or not is_count(position, at_most=_MT_WORDS):
        raise wrong(BIT_GENERATOR, "its position or key is out of range", reason="native")
    return {"key": key, "pos": position}


def random_state(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``__randomstate_ctor(bit generator or its name[, constructor])``."""
    first = args[0] if args else None
    named = first == "MT19937" if type(first) is str else type(first) is np.random.MT19937
    if not named or len(args) > 2:  # noqa: PLR2004 - generator and constructor
        raise wrong(RANDOM_STATE, "its generator is not MT19937", reason="native")
    return Pending(RANDOM_STATE, lambda _, state: legacy_state(state))


def legacy_state(state: Any) -> np.random.RandomState:
    """A RandomState with the checked dictionary ``state``."""
    checked = check_state(state, "MT19937")
    has, gauss = state.get("has_gauss", 0), state.get("gauss", 0.0)
    if has not in {0, 1} or not is_number(gauss):
        raise wrong(RANDOM_STATE, "its spare number is out of range", reason="native")
    instance = np.random.RandomState(0)
    instance.set_state(checked | {"has_gauss": int(has), "gauss": float(gauss)})
    return instance


def generator(_machine: Machine, args: tuple[Any, ...]) -> np.random.Generator:
    """``__generator_ctor(bit generator)``."""
    if len(args) not in {1, 2} or type(args[0]) not in {np.random.MT19937, np.random.PCG64}:
        raise wrong(GENERATOR, "its generator is neither MT19937 nor PCG64", reason="native")
    return np.random.Generator(args[0])


def seed_sequence(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``__pyx_unpickle_SeedSequence(SeedSequence, checksum, None)``: made anew from its seed."""
    if len(args) != 3 or args[0] is not np.random.SeedSequence:  # noqa: PLR2004 - Cython's three
        raise wrong(SEED_SEQUENCE, "is called for another class", reason="native")
    return Pending(SEED_SEQUENCE, lambda _, state: _finish_seeds(state))


def _finish_seeds(state: Any) -> np.random.SeedSequence:
    if type(state) is not tuple or len(state) != 5:  # noqa: PLR2004 - numpy's five
        raise wrong(SEED_SEQUENCE, "its state has another form", reason="native")
    entropy, spawned, _, pool_size, spawn_key = state
    words = list(entropy) if type(entropy) in {list, tuple} else [entropy]
    good = (
        all(_is_seed(word) for word in words)
        and is_count(spawned, at_most=1 << 31)
        and pool_size == 4  # noqa: PLR2004 - numpy's default, the only one scikit-learn meets
        and type(spawn_key) is tuple
        and all(is_count(key, at_most=1 << 32) for key in spawn_key)
    )
    if not good:
        raise wrong(SEED_SEQUENCE, "its seed is no number", reason="native")
    seed = [int(word) for word in words] if len(words) > 1 else int(words[0])
    return np.random.SeedSequence(seed, spawn_key=spawn_key, n_children_spawned=spawned)


def _is_seed(word: Any) -> bool:
    return (type(word) is int or isinstance(word, np.integer)) and bool(word >= 0)
