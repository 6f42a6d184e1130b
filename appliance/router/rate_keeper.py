"""Holds what goes through the tunnel to the rates of a model, and reads what each of them let pass."""

from __future__ import annotations

from typing import Protocol

from appliance.ports.netlink import NetlinkError, NetlinkPort, QueueTraffic
from appliance.router.model import RouterModel, Shape
from appliance.types.errors import Severity

HTB_MEND = "load the kernel module sch_htb, or give up the limits"
FAIR_MEND = "load the kernel module sch_fq_codel"


class SayHealth(Protocol):
    def __call__(self, code: str, text: str, mend: str, severity: Severity = Severity.MEDIUM) -> None:
        """`text` empty means healthy."""
        ...


class RateKeeper:
    """One per router, which calls one method at a time."""

    def __init__(self, netlink: NetlinkPort, say: SayHealth) -> None:
        self._netlink = netlink
        self._say = say
        self._held: tuple[Shape, ...] | None = None
        """What the classes of the device are for; None: the kernel's state is not known."""

    async def hold(self, model: RouterModel, *, known: bool) -> None:
        """Where the kernel cannot, all else goes on. `known`: the device is still the one of the last call.

        Classes that are for the same limits stay, with what they count.
        """
        same = self._held is not None and _limits(self._held) == _limits(model.shapes)
        self._held = model.shapes
        if same and (known or await self._stands(model)):
            return
        try:
            fair = await self._netlink.limit(model.interface, [each.rate_kbit for each in model.shapes])
            problem = ""
        except NetlinkError as error:
            self._held, fair, problem = None, True, error.text
        self._say("traffic-not-limited", problem, HTB_MEND)
        plain = "" if fair else "one large transfer delays all else inside its limit: this kernel has no fq_codel"
        self._say("limits-not-fair", plain, FAIR_MEND, Severity.LOW)

    async def _stands(self, model: RouterModel) -> bool:
        try:
            return len(await self._netlink.queue_traffic(model.interface)) == len(model.shapes)
        except NetlinkError:
            return False

    async def traffic(self, interface: str) -> dict[str, QueueTraffic]:
        """By the shapes' names; none where the kernel does not limit. Raises `NetlinkError`."""
        if not self._held:
            return {}
        found = await self._netlink.queue_traffic(interface)
        return {each.name: found[number] for number, each in enumerate(self._held, 1) if each.name and number in found}

    async def give_up(self, interface: str) -> None:
        """Raises `NetlinkError`."""
        held, self._held = self._held, None
        if held:
            await self._netlink.limit(interface, ())


def _limits(shapes: tuple[Shape, ...]) -> list[tuple[str, int]]:
    """Whatever else the same name stands for, its class counts on."""
    return [(each.name, each.rate_kbit) for each in shapes]
