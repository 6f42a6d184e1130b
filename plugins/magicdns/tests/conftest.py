"""A certificate for the resolvers that tests make."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.magicdns.tests.scripted import certificate_file
from plugins.magicdns.tests.tls import NAME


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_file(tmp_path_factory.mktemp("tls"), NAME)
