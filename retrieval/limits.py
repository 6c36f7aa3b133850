"""How often one key and one address may ask: limits that hold across processes and cost no request a round trip.

Requests are counted in memory and judged at once. What was counted goes to Redis in the background, at most every
`SHARED_EVERY_S`, and comes back as what all processes have counted; so together they may exceed a limit by what
they let in within that time. While Redis does not answer, each process goes on with what it knows.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Sequence
from functools import lru_cache

from stores.counters import Counters
from stores.errors import StoreError
from stores.settings import BadSetting, Settings

WINDOW_S = 10
SHARED_EVERY_S = 0.02

log = logging.getLogger("retrieval")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Limits:
    """Counts requests by name within windows of `WINDOW_S`, the same for all processes whose clocks agree."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._window = 0
        self._told: dict[str, int] = {}
        """What all processes have counted as far as this one knows, with what it has sent."""
        self._unsent: dict[str, int] = {}
        self._sharing: asyncio.Task[None] | None = None
        self._shared_at_s = 0.0

    def admit(self, name: str, *, per_s: float) -> int | None:
        """Counts one request. None where it may pass, else the seconds after which asking again is worth while. 0 a second: no limit."""
        if not per_s:
            return None
        now_s = time.time()
        if (window := int(now_s // WINDOW_S)) != self._window:
            self._window, self._told, self._unsent = window, {}, {}
        unsent = self._unsent.get(name, 0)
        if self._told.get(name, 0) + unsent >= max(1, per_s * WINDOW_S):
            return math.ceil((window + 1) * WINDOW_S - now_s)
        self._unsent[name] = unsent + 1
        if self._sharing is None:
            self._sharing = asyncio.ensure_future(self._share())
        return None

    async def close(self) -> None:
        """Ends what is under way, and closes the counters."""
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.gather(self._sharing, return_exceptions=True)
        await self._counters.close()

    async def _share(self) -> None:
        """Tells Redis what was counted, until there is nothing to tell."""
        try:
            while self._unsent:
                await asyncio.sleep(self._shared_at_s + SHARED_EVERY_S - time.monotonic())
                window, counted, self._unsent = self._window, self._unsent, {}
                for name, count in counted.items():
                    self._told[name] = self._told.get(name, 0) + count
                self._shared_at_s = time.monotonic()
                await self._exchange(window, counted)
        finally:
            self._sharing = None

    async def _exchange(self, window: int, counted: dict[str, int]) -> None:
        try:
            told = await self._counters.add(counted, window=window, lasts_s=2 * WINDOW_S)
        except StoreError as exc:
            log.debug("limits are this process' own for now: %s", exc)
            return
        if window == self._window:
            self._told.update(told)


class Addresses:
    """Whom an address counts for: the client as the proxies tell it that are trusted, an IPv6 client by its /64 network."""

    def __init__(self, settings: Settings) -> None:
        """Reads the proxies from the settings.

        Raises:
            BadSetting: one is neither an address nor a network.
        """
        try:
            self._proxies: Sequence[Network] = [ipaddress.ip_network(each, strict=False) for each in settings.trusted_proxies]
        except ValueError as exc:
            raise BadSetting(f"CAMPAIGNS_TRUSTED_PROXIES: {exc}") from None
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, client: str, forwarded_for: bytes = b"") -> str:
        """The nearest address that is no trusted proxy's, from `X-Forwarded-For` read from its end."""
        for hop in [client, *reversed(forwarded_for.decode("latin-1").split(","))]:
            try:
                address = ipaddress.ip_address(hop.strip())
            except ValueError:
                return client
            if not any(address in network for network in self._proxies):
                break
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, 64), strict=False).network_address)
        return str(address)
