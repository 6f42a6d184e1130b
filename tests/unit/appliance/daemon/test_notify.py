from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.daemon.notify import SystemdManager, watchdog_interval_s


def test_ok__systemd_hears_ready_status_and_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        manager = SystemdManager()
        manager.ready()
        manager.status("running,\n 3 peers")
        manager.status("running, 3 peers")
        manager.alive()
        manager.stopping()
        heard = [listener.recv(200).decode() for _ in range(4)]
        manager.close()
    assert heard == ["READY=1", "STATUS=running, 3 peers", "WATCHDOG=1", "STOPPING=1"]


def test_ok__without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = SystemdManager()
    manager.ready()
    manager.close()


def test_ok__watchdog_time_is_for_this_process_only() -> None:
    assert watchdog_interval_s({"WATCHDOG_USEC": "60000000"}) == 60.0
    assert watchdog_interval_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}) == 60.0
    assert watchdog_interval_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_interval_s({}) is None
    assert watchdog_interval_s({"WATCHDOG_USEC": "x"}) is None
