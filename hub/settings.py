"""How a hub behaves: times and limits, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from ..profiler.fleet_protocol import BODY_BYTES_MAX


@dataclass(frozen=True)
class HubSettings:
    """Of one replica; all replicas of a store should have the same.

    Attributes:
        lease_s: how long a board may be silent. Three heartbeats: one may be lost, and one late.
        wait_s: how long a request for work is kept open; below the 60 s at which proxies give up.
        poll_s: how often a waiting request looks by itself, should a word be lost; SQLite has no words.
        reap_s: how often leases of silent boards are looked for.
        maintain_s: how often the store is put in order; with ten million measurements that takes a quarter of a minute.
        body_bytes: largest JSON body, before and after unpacking.
        blob_bytes: largest model.
    """

    lease_s: float = 90.0
    wait_s: float = 50.0
    poll_s: float = 2.0
    reap_s: float = 10.0
    maintain_s: float = 6 * 3600.0
    body_bytes: int = BODY_BYTES_MAX
    blob_bytes: int = 512 << 20
