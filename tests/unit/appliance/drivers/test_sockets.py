from __future__ import annotations

import socket

import pytest

from appliance.drivers.sockets import marking, open_socket


def test_ok__closed_on_exec_and_as_asked() -> None:
    with open_socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        assert not made.get_inheritable()
        assert not made.getblocking()
        assert made.type == socket.SOCK_DGRAM


def test_ok__marked_where_the_process_may() -> None:
    with marking(0)(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
    try:
        with marking(0x80000)(socket.AF_INET, socket.SOCK_DGRAM) as marked:
            assert marked.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x80000
    except PermissionError:
        pytest.skip("CAP_NET_ADMIN is missing")
