"""The driver of the 4via6 translator: batches from a network device of its own, through the translator, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NoReturn

from appliance.api import HostHandle, LogLevel, TunPort
from plugins.subnet_router.via import TranslationPlan, TranslationView

if TYPE_CHECKING:
    from appliance.proto.siit import Translator

INTERVAL_S = 1.0
"""Between two looks at what is to be served."""
BATCH = 64


class TranslationService:
    """`wanted` says what is to be translated, None: nothing; then there is no device."""

    name = "4via6"

    def __init__(
        self,
        host: HostHandle,
        wanted: Callable[[], TranslationPlan | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._wanted = wanted
        self._clock = clock
        self._translator: Translator | None = None
        self._broken = False
        self._refused = 0

    @property
    def view(self) -> TranslationView | None:
        """None while nothing is translated."""
        if self._translator is None:
            return None
        counters, bindings = self._translator.counters, self._translator.bindings
        return TranslationView(
            to_site=counters.to_v4,
            to_mesh=counters.to_v6,
            dropped={str(reason): count for reason, count in counters.dropped.items() if count},
            senders=len(bindings),
            capacity=bindings.capacity,
            refused=bindings.refused,
            unsent=self._refused,
        )

    async def run(self) -> NoReturn:
        """Raises `ApplianceError` when the device cannot be had; the core tries again later."""
        while True:
            plan = self._wanted()
            if plan is not None:
                await self._serve(plan)
            else:
                await self._host.sleep(INTERVAL_S)

    async def _serve(self, plan: TranslationPlan) -> None:
        """Until something else is wanted."""
        from appliance.proto.siit import Translator  # few sites translate: the others keep its memory

        mtu = (await self._host.facts()).tunnel_mtu
        port = await self._host.open_device(plan.device)
        self._broken = False
        translator = self._translator = Translator(plan.networks, IPv4Network(plan.pool), mtu)
        try:
            port.set_reader(lambda: self._readable(port, translator))
            await self._host.log(LogLevel.INFO, "translating", {"prefixes": list(plan.served)})
            while self._wanted() == plan and not self._broken:
                await self._host.sleep(INTERVAL_S)
        finally:
            self._translator = None
            port.close()

    def _readable(self, port: TunPort, translator: Translator) -> None:
        try:
            received = port.receive(BATCH)
        except OSError:  # somebody deleted the device; it is made anew
            port.set_reader(None)
            self._broken = True
            return
        try:
            port.send(translator.translate(received, self._clock()))
        except OSError:
            self._refused += 1
