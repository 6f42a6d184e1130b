from __future__ import annotations

import socket

from appliance.drivers.sockets import open_socket


def test_ok__closed_on_exec_and_as_asked() -> None:
    with open_socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        assert not made.get_inheritable()
        assert not made.getblocking()
        assert made.type == socket.SOCK_DGRAM
