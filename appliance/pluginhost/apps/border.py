"""Types of what crosses the process border, taken from the hook specs and from `HostHandle` themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw

from appliance.api import hookspecs
from appliance.api.host import HostHandle
from appliance.api.offered import OfferedRoutes, plain
from appliance.api.values import OfferedRoute

LOCAL_METHODS = frozenset(
    {
        "now",
        "wall_now",
        "sleep",
        "changes",
        "plugin",
        "request_router_refresh",
        "open_udp",
        "open_device",
        "take_datagrams",
        "relay_in_kernel",
    }
)
"""Methods of the handle that the plugin's own process answers."""
SOCKET_METHODS = frozenset({"listen", "join_group"})
"""Methods that answer with a descriptor."""
_OWN_WAY = frozenset({"appliance_configure", "appliance_start"})
"""Hooks whose arguments or results stay on one side of the border."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Types of a call's arguments, in order, and of its result."""

    arguments: Mapping[str, Any]
    result: Any


def _shape(function: Callable[..., Any], first: str, *, has_value: bool = True) -> Shape:
    hints = get_type_hints(function)
    parameters = [name for name in inspect.signature(function).parameters if name != first]
    return Shape({name: hints[name] for name in parameters}, hints["return"] if has_value else type(None))


HOOKS: Mapping[str, Shape] = {
    name: _shape(spec, "host")
    for name, spec in vars(hookspecs).items()
    if name.startswith(hookspecs.HOOK_PREFIX) and name not in _OWN_WAY
}
METHODS: Mapping[str, Shape] = {
    name: _shape(method, "self", has_value=name not in SOCKET_METHODS)
    for name, method in vars(HostHandle).items()
    if inspect.isfunction(method) and name[0] != "_" and name not in LOCAL_METHODS
}


def pack(value: Any) -> Raw:
    return Raw(msgspec.msgpack.encode(value, enc_hook=plain))


def unpack(raw: Raw, kind: Any) -> Any:
    """Raises `msgspec.MsgspecError`."""
    return msgspec.msgpack.decode(raw, type=kind, dec_hook=_ordered)


def _ordered(kind: type, value: Any) -> OfferedRoutes:
    """The one type of the API that is not plain. Raises `msgspec.MsgspecError`."""
    assert kind is OfferedRoutes
    return OfferedRoutes(msgspec.convert(value, list[OfferedRoute]))


def pack_hook(arguments: Mapping[str, Any]) -> dict[str, Raw]:
    return {name: pack(value) for name, value in arguments.items()}


def unpack_hook(hook: str, arguments: Mapping[str, Raw]) -> dict[str, Any]:
    """Raises `msgspec.MsgspecError` and `KeyError`."""
    shape = HOOKS[hook]
    return {name: unpack(raw, shape.arguments[name]) for name, raw in arguments.items()}


def unpack_hook_result(hook: str, raw: Raw) -> Any:
    """Sequences become tuples, as the hooks' own results are. Raises `msgspec.MsgspecError`."""
    value = unpack(raw, HOOKS[hook].result)
    return tuple(value) if isinstance(value, list) else value


def pack_method(method: str, arguments: Sequence[Any]) -> tuple[Raw, ...]:
    assert len(arguments) <= len(METHODS[method].arguments)
    return tuple(pack(value) for value in arguments)


def unpack_method(method: str, arguments: Sequence[Raw]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword-only arguments. Raises `msgspec.MsgspecError`, `KeyError` and `ValueError`."""
    shape = METHODS[method]
    if len(arguments) > len(shape.arguments):
        raise ValueError(f"{method} takes {len(shape.arguments)} arguments")
    named = {name: unpack(raw, kind) for (name, kind), raw in zip(shape.arguments.items(), arguments, strict=False)}
    parameters = inspect.signature(getattr(HostHandle, method)).parameters
    keyword = {name for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}
    return [value for name, value in named.items() if name not in keyword], {
        name: value for name, value in named.items() if name in keyword
    }
