"""
Opcodes that name, call and fill objects: GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, BUILD.

A name becomes what the table says and nothing else; only a constructor of ours is ever called;
state goes only into an instance that this stream made.
"""

from typing import Any

from deployments.intake.build_state import fill
from deployments.intake.machine import Machine
from deployments.intake.opcodes import Handler
from deployments.intake.refusals import refusal
from deployments.intake.tokens import ClassToken, ConstructorToken, Pending


def _global(m: Machine) -> None:
    module = m.read_line()
    m.stack.append(m.grants.find(module, m.read_line()))


def _stack_global(m: Machine) -> None:
    name = m.stack.pop()
    module = m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise refusal(
            "gate2: the file names an object by something that is not text",
            gate="gate2",
            reason="global",
        )
    m.stack.append(m.grants.find(module, name))


def _arguments(m: Machine) -> tuple[Any, ...]:
    args = m.stack.pop()
    if type(args) is not tuple:
        raise refusal(
            "gate2: a call in the file has no argument list: save the model again",
            gate="gate2",
            reason="arguments",
        )
    return args


def _reduce(m: Machine) -> None:
    args = _arguments(m)
    token = m.stack[-1]
    plain = m.grants.constructor_for(token)
    if plain is not None:
        m.stack[-1] = plain(m, args)
        return
    if type(token) is not ConstructorToken:
        name = _describe(token)
        raise refusal(
            f"gate2: the file calls {name!r}, which may be kept in a model but not called while "
            "it is read: save the model with a plain pickle.dump or joblib.dump",
            gate="gate2",
            reason="call",
            name=name,
        )
    m.stack[-1] = token.build(m, args)


def _newobj(m: Machine) -> None:
    args = _arguments(m)
    token = m.stack[-1]
    if type(token) is not ClassToken:
        name = _describe(token)
        raise refusal(
            f"gate2: the file makes an instance of {name!r}, which is not on the list of classes",
            gate="gate2",
            reason="call",
            name=name,
        )
    m.stack[-1] = m.grants.instance(m, token, args)


def _build(m: Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if type(target) is Pending:
        m.settle(target, target.finish(m, state))
        return
    if m.made.get(id(target)) is not target:
        name = _describe(target)
        raise refusal(
            f"gate2: the file sets state on {name!r}, which it did not make: save the model again",
            gate="gate2",
            reason="build_target",
            name=name,
        )
    fill(m.grants, target, state)


def _describe(value: Any) -> str:
    if type(value) in {ClassToken, ConstructorToken, Pending}:
        return str(value.name)
    kind = value if isinstance(value, type) else type(value)
    own_name = getattr(value, "__qualname__", None) or kind.__qualname__
    return f"{getattr(value, '__module__', None) or kind.__module__}.{own_name}"


OBJECT_OPCODES: dict[int, Handler] = {
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _newobj,
    ord("b"): _build,
}
