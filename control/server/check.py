"""What the settings name, looked at without starting: certificate, policy, DERP maps, token."""

from __future__ import annotations

import os
import shutil
import ssl
from typing import TYPE_CHECKING

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.errors import ApplianceError, ConfigError
from control.policy.document import parse_policy
from control.policy.problems import PolicyError
from control.server.app import read_policy
from control.server.derp_maps import read_derp_file
from control.server.embedded_derp import relay_host
from control.server.metrics import read_token
from control.service.countries import Countries
from control.tls.identity import ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from control.server.settings import ServerSettings


def check_files(settings: ServerSettings) -> list[ApplianceError]:
    """Everything that would keep the server from starting, or a setting from working."""
    checks: list[Callable[[], object]] = [lambda: _check_command(settings.set_dns_command)]
    if settings.tls_certificate is not None and settings.tls_key is not None:
        pair = settings.tls_certificate, settings.tls_key
        checks.append(lambda: ServerTls.from_files(*pair, SystemClock(), SystemRandomness()))
    if settings.acme is not None and settings.acme.ca_file is not None:
        authorities = settings.acme.ca_file
        checks.append(lambda: _check_authorities(authorities))
    if settings.policy_file is not None:
        policy = settings.policy_file
        checks.append(lambda: _check_policy(policy))
    if settings.derp_host:
        host = settings.derp_host
        checks.append(lambda: relay_host(host))
    if settings.country_file is not None:
        countries = settings.country_file
        checks.append(lambda: Countries(countries))
    if settings.metrics_token_file is not None:
        token = settings.metrics_token_file
        checks.append(lambda: read_token(token))
    checks.extend(lambda path=path: read_derp_file(path) for path in settings.derp_map_files)  # type: ignore[misc]  # a default argument binds the loop's value
    return [error for check in checks if (error := _error_of(check)) is not None]


def _error_of(check: Callable[[], object]) -> ApplianceError | None:
    try:
        check()
    except ApplianceError as error:
        return error
    return None


def _check_policy(file: Path) -> None:
    try:
        parse_policy(read_policy(file))
    except PolicyError as error:
        mend = error.mend or f"see: waypost-control policy check {file}"
        raise ConfigError(f"policy {file}: {error.text}", mend=mend) from error


def _check_authorities(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:
        raise ConfigError(
            f"tls.ca_file: cannot use {file}: {error.strerror or error}", mend="give PEM certificates"
        ) from error


def _check_command(command: tuple[str, ...]) -> None:
    if command and not shutil.which(command[0]) and not os.access(command[0], os.X_OK):
        raise ConfigError(
            f"certificates.set_dns_command: {command[0]} is no program", mend="give its full path, executable"
        )
