"""The conversation with the process inside, without a namespace."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from typing import Any

import pytest

from appliance.drivers.rootless import inside


def conversation(verbs: dict[str, Any], *requests: dict[str, Any]) -> list[tuple[dict[str, Any], int | None]]:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, pytest.raises(inside.ConversationOverError):
            inside.serve(theirs, verbs)

    thread = threading.Thread(target=serve)
    thread.start()
    replies = []
    with ours:
        ours.settimeout(5)
        for request in requests:
            inside.send_message(ours, request)
            replies.append(inside.receive_message(ours))
    thread.join()
    return replies


def test_ok__descriptors_travel_and_are_not_kept() -> None:
    request = {"verb": "socket", "family": socket.AF_INET, "kind": socket.SOCK_DGRAM, "protocol": 0}
    before = len(os.listdir("/proc/self/fd"))
    ((reply, descriptor),) = conversation(inside.QUICK, request)
    assert reply == {}
    assert descriptor is not None
    with socket.socket(fileno=descriptor) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_DGRAM)
    assert len(os.listdir("/proc/self/fd")) == before


def test_ok__long_messages_come_whole() -> None:
    text = "x" * 3_000_000
    ((reply, _),) = conversation(
        {"echo": lambda request: ({"text": request["text"]}, None)}, {"verb": "echo", "text": text}
    )
    assert reply["text"] == text


def test_fail__errors_and_unknown_verbs_are_replies() -> None:
    bad = {"verb": "socket", "family": 1, "kind": 77, "protocol": 0}
    replies = conversation(inside.QUICK, bad, {"verb": "reboot"}, {"verb": "nft", "arguments": [], "text": ""})
    assert [reply["errno"] for reply, _ in replies] == [errno.EINVAL, errno.ENOSYS, errno.ENOSYS]


def test_fail__a_length_that_cannot_be_ends_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack(">I", inside.MAX_MESSAGE_BYTES + 1))
        with pytest.raises(inside.ConversationOverError):
            inside.receive_message(theirs)
