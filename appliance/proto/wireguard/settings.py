"""Every number of the protocol in one value, so that a test can shorten the clock (magicsock-disco spec 2.3, 2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Randomness(Protocol):
    """What the machine asks of a random source; `appliance.ports.randomness` has the implementations."""

    def bytes(self, count: int) -> bytes: ...

    def uniform(self, low: float, high: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Names as the paper spells them, in lower case with the unit.

    `handshake_rate` is how many handshake messages a second one core is trusted to answer: the virtual queue drains
    at that speed, and more than an eighth of `handshake_queue` waiting means load.
    """

    rekey_after_time_s: float = 120.0
    reject_after_time_s: float = 180.0
    rekey_after_messages: int = 2**60
    reject_after_messages: int = 2**64 - 2**13 - 1
    rekey_timeout_s: float = 5.0
    rekey_jitter_s: float = 0.333
    rekey_attempt_time_s: float = 90.0
    keepalive_timeout_s: float = 10.0
    cookie_secret_s: float = 120.0
    cookie_valid_s: float = 120.0
    under_load_memory_s: float = 1.0
    handshake_queue: int = 1024
    handshake_rate: float = 500.0
    source_rate: float = 20.0
    source_burst: int = 5
    source_table: int = 4096
    peer_initiations_per_s: float = 50.0
    staged_packets: int = 128
    replay_bits: int = 8192

    @property
    def rekey_on_receive_s(self) -> float:
        """Age at which the initiator rekeys because it received (165 s)."""
        return self.reject_after_time_s - self.keepalive_timeout_s - self.rekey_timeout_s

    @property
    def no_reply_s(self) -> float:
        """Silence after sent data that asks for a new handshake (15 s)."""
        return self.keepalive_timeout_s + self.rekey_timeout_s

    @property
    def zero_keys_s(self) -> float:
        """Time without a new session after which all keys are forgotten (540 s)."""
        return 3 * self.reject_after_time_s

    @property
    def handshake_attempts(self) -> int:
        """Initiations in a row before giving up (18)."""
        return max(1, int(self.rekey_attempt_time_s / self.rekey_timeout_s))
