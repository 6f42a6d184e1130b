"""Handlers of control-to-node requests by path and method, in the form that the control client takes.

An unknown path is the client's to refuse (400); a known one with a wrong method is answered 405 here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from types import MappingProxyType

from appliance.netmap.pings import C2nHandler, C2nReply
from appliance.proto.http1.head import RequestHead

TEXT = "text/plain; charset=utf-8"


class C2nTable:
    def __init__(self) -> None:
        self._methods: dict[str, dict[str, C2nHandler]] = {}
        self._paths: dict[str, C2nHandler] = {}

    @property
    def by_path(self) -> Mapping[str, C2nHandler]:
        """For `ControlSettings.c2n`; live."""
        return MappingProxyType(self._paths)

    def add(self, methods: str, path: str, handler: C2nHandler) -> None:
        """`methods` separated by spaces. Raises `ValueError` when somebody has one of them already."""
        known = self._methods.setdefault(path, {})
        for method in methods.split():
            if method in known:
                raise ValueError(f"c2n {method} {path} has a handler already")
            known[method] = handler
        self._paths[path] = _by_method(known)


def _by_method(methods: Mapping[str, C2nHandler]) -> C2nHandler:
    def handle(head: RequestHead, body: bytes) -> C2nReply | Awaitable[C2nReply]:
        handler = methods.get(head.method)
        if handler is None:
            return 405, TEXT, b"method not allowed\n"
        return handler(head, body)

    return handle
