"""Limits without Redis: judged in this process, by its own count."""

import asyncio
import time

import pytest

from retrieval import limits
from retrieval.limits import WINDOW_S, Addresses, Limits
from stores.counters import Counters
from stores.settings import BadSetting, Settings

NO_REDIS = Settings(redis_url="redis://127.0.0.1:9/0")


def test_without_redis_a_process_keeps_the_limit_by_itself_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    began_s = (time.time() // WINDOW_S) * WINDOW_S

    async def scenario() -> list[int | None]:
        limited = Limits(Counters(NO_REDIS))
        said = []
        for _ in range(25):
            said.append(limited.admit("key:shop", per_s=2))
            await asyncio.sleep(0.002)
        said.append(limited.admit("key:other", per_s=2))
        monkeypatch.setattr(limits.time, "time", lambda: began_s + WINDOW_S + 1)
        said.append(limited.admit("key:shop", per_s=2))
        await limited.close()
        return said

    monkeypatch.setattr(limits.time, "time", lambda: began_s + 3.5)
    assert asyncio.run(scenario()) == [None] * 20 + [7] * 5 + [None, None]


def test_no_limit_is_no_limit() -> None:
    async def scenario() -> set[int | None]:
        return {Limits(Counters(NO_REDIS)).admit("key:shop", per_s=0) for _ in range(1000)}

    assert asyncio.run(scenario()) == {None}


@pytest.mark.parametrize(
    ("client", "forwarded_for", "counts_for"),
    [
        ("192.0.2.1", b"", "192.0.2.1"),
        ("192.0.2.1", b"203.0.113.9", "192.0.2.1"),  # no trusted proxy: anybody can write this header
        ("10.1.2.3", b"203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", b"198.51.100.7, 203.0.113.9, 10.9.9.9", "203.0.113.9"),  # what stands further left may be invented
        ("10.1.2.3", b"", "10.1.2.3"),
        ("10.1.2.3", b"unknown", "10.1.2.3"),
        ("10.1.2.3", b"\xff\x00", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", b"", "2001:db8:1:2::"),
    ],
)
def test_an_address_is_the_clients_as_trusted_proxies_tell_it(client: str, forwarded_for: bytes, counts_for: str) -> None:
    assert Addresses(Settings(trusted_proxies=("10.0.0.0/8",))).of(client, forwarded_for) == counts_for


def test_a_proxy_that_is_no_address_is_one_clear_line() -> None:
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_TRUSTED_PROXIES: "):
        Addresses(Settings(trusted_proxies=("proxy.example",)))
