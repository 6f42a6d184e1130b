"""A real service on a real database of either kind, with a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control.messages import ZERO_TIME, Auth, Hostinfo, RegisterRequest, RegisterResponse
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.service.actor import local_admin
from control.service.service import ControlService, open_service
from control.service.settings import ServiceSettings
from control.state.changes import Change

ADMIN = local_admin(0)


def machine(number: int) -> MachinePublicKey:
    return MachinePublicKey(bytes([number]) * 32)


def node_key(number: int) -> NodePublicKey:
    return NodePublicKey(bytes([number]) * 32)


@dataclass
class Rig:
    service: ControlService
    clock: VirtualClock
    path: object
    settings: ServiceSettings
    database: str
    changes: list[Change] = field(default_factory=list)

    async def key(self, user: str | None = "alice", **options) -> str:
        if user is not None and user not in {one.name for one in self.service.users.list(ADMIN)}:
            await self.service.users.create(ADMIN, user, email=f"{user}@example.org")
        return (await self.service.keys.create(ADMIN, user=user, **options))[1]

    async def register(
        self, number: int, auth_key: str = "", *, key: int | None = None, expiry: str = ZERO_TIME, **info
    ) -> RegisterResponse:
        request = RegisterRequest(
            version=130,
            node_key=str(node_key(number if key is None else key)),
            auth=Auth(auth_key=auth_key) if auth_key else None,
            expiry=expiry,
            hostinfo=Hostinfo(**{"hostname": f"gw{number}", **info}),
        )
        return await self.service.register(machine(number), request, "192.0.2.1")

    async def join(self, number: int, user: str | None = "alice", options: dict | None = None, **info):
        answer = await self.register(number, await self.key(user, **(options or {})), **info)
        assert answer.error == ""
        return self.service.view().node_by_key(node_key(number))

    async def reopen(self) -> None:
        await self.service.close()
        self.service = await open_service(
            self.path,
            self.settings,
            clock=self.clock,
            randomness=SeededRandomness(self.clock.now()),
            database_text=self.database,
        )


@pytest.fixture
async def rig(tmp_path, database_text):
    clock, settings = VirtualClock(), ServiceSettings(domain="net.example")
    service = await open_service(
        tmp_path, settings, clock=clock, randomness=SeededRandomness(1), database_text=database_text
    )
    rig = Rig(service, clock, tmp_path, settings, database_text)
    service.subscribe(rig.changes.append)
    yield rig
    await rig.service.close()
