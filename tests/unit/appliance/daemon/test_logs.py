from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from appliance.daemon.logs import configure_logs
from appliance.localapi.schema import UpRequest
from appliance.types.keys import NodePrivateKey


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_ok__json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("auto", "info")
    log = structlog.get_logger("x")
    log.info("started", port=5)
    log.debug("hidden")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) | {"timestamp": ""} == {"event": "started", "port": 5, "level": "info", "timestamp": ""}


def test_ok__human_on_wish(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("human", "info")
    structlog.get_logger("x").info("started", port=5)
    assert "started" in capsys.readouterr().out


def test_ok__libraries_end_in_the_same_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    logging.getLogger("asyncio").error("broken %d", 5)
    logging.getLogger("asyncio").info("chatter")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "broken 5"


def test_ok__secrets_do_not_show(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    log = structlog.get_logger("x")
    log.info("a", key=NodePrivateKey(bytes(range(32))), request=UpRequest(auth_key="hskey-secret"))
    log.error("b", exc_info=ValueError("plain"))
    out = capsys.readouterr().out
    assert bytes(range(32)).hex() not in out
    assert "hskey-secret" not in out
    assert "ValueError" in out
