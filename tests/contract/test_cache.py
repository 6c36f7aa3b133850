"""What Redis promises: an answer counts only under the release and the epoch of now, and losing keys makes nothing wrong."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from traceback import format_exception

import pytest
from msgspec.structs import replace
from redis import Redis

from local.engines import RunningEngines
from stores.breaker import RETRY_S
from stores.cache import Cache, CacheReader, CacheView, Entry, answer_key
from stores.errors import ContractBroken, Unavailable
from stores.records import Release
from stores.settings import BadSetting, Settings

BODY = b'{"user_id":"u_1"}\n\x00\xff rest'
QUERY = "limit=10"


@pytest.fixture
def cache(settings: Settings) -> Iterator[Cache]:
    store = Cache(settings)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def keys(settings: Settings) -> Iterator[Redis]:
    """The keys as anybody else could reach them."""
    with Redis.from_url(settings.redis_url) as client:
        yield client


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[CacheReader]:
    reader = CacheReader(settings)
    yield reader
    await reader.close()


def view(settings: Settings, user_id: str = "u_1", query: str = QUERY) -> CacheView:
    async def read() -> CacheView:
        async with opened(settings) as reader:
            return await reader.read(user_id, query)

    return asyncio.run(read())


def answer(
    settings: Settings, before: CacheView, user_id: str = "u_1", query: str = QUERY, *, body: bytes = BODY, ttl_s: float = 60
) -> None:
    """Writes an answer as one who read `before` and then computed it."""

    async def write() -> None:
        async with opened(settings) as reader:
            await reader.write(user_id, query, Entry(before.release or 0, before.epoch, body), ttl_s=ttl_s)

    asyncio.run(write())


def release(number: int) -> Release:
    return Release(number=number, digest=str(number), message_vectors="m", user_vectors="u", model="a/b", dimension=384, sequence=1)


def assert_unavailable_within(timeout_s: float, call: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        call()
    assert time.monotonic() - started < timeout_s


# Answers


def test_an_empty_cache_knows_nothing(settings: Settings, cache: Cache) -> None:
    assert view(settings) == CacheView(release=None, epoch=0, entry=None)
    assert not view(settings).fresh
    assert cache.published() is None


@pytest.mark.parametrize("body", [BODY, b"", b"\n", b"1 2\n3", "żółć".encode(), b"x" * 300_000])
def test_an_answer_comes_back_to_the_byte(settings: Settings, cache: Cache, body: bytes) -> None:
    cache.publish(release(7))
    answer(settings, view(settings), body=body)
    found = view(settings)
    assert found.fresh
    assert found.entry == Entry(7, found.epoch, body)


def test_an_answer_counts_until_the_next_release_and_can_still_be_read_after(settings: Settings, cache: Cache) -> None:
    cache.publish(release(7))
    answer(settings, view(settings))
    cache.publish(release(8))
    stale = view(settings)
    assert not stale.fresh
    assert stale.entry is not None
    assert (stale.release, stale.entry.release, stale.entry.body) == (8, 7, BODY)
    answer(settings, stale, body=b"new")
    assert view(settings).fresh


def test_a_customers_answers_count_until_something_new_is_known_of_them(settings: Settings, cache: Cache) -> None:
    cache.publish(release(7))
    for user_id, query in [("u_1", QUERY), ("u_1", "limit=5"), ("u_2", QUERY)]:
        answer(settings, view(settings, user_id, query), user_id, query)
    cache.bump_user("u_1")
    assert not view(settings, "u_1", QUERY).fresh
    assert not view(settings, "u_1", "limit=5").fresh
    assert view(settings, "u_2", QUERY).fresh
    answer(settings, view(settings))
    assert view(settings).fresh


@pytest.mark.parametrize("known", [False, True])
def test_an_answer_that_was_being_computed_when_something_new_came_does_not_count(settings: Settings, cache: Cache, known: bool) -> None:
    cache.publish(release(7))
    if known:
        cache.bump_user("u_1")
    before = view(settings)
    cache.bump_user("u_1")
    answer(settings, before)
    assert not view(settings).fresh


def test_an_answer_whose_epoch_was_lost_does_not_count_again(settings: Settings, cache: Cache, keys: Redis) -> None:
    cache.publish(release(7))
    answer(settings, view(settings))
    cache.bump_user("u_1")
    keys.delete("rec:epoch:u_1")
    assert view(settings).entry is not None
    assert not view(settings).fresh


def test_no_customers_answer_can_be_read_as_anothers_or_as_an_epoch(settings: Settings, cache: Cache) -> None:
    cache.publish(release(7))
    places = [("u", "a:?b"), ("u:a", "b"), ("u:", "a"), ("epoch", "u"), ("epoch:u", ""), ("release", ""), ("schema", ""), ("u", "")]
    for number, (user_id, query) in enumerate(places):
        answer(settings, view(settings, user_id, query), user_id, query, body=b"%d" % number)
    for number, (user_id, query) in enumerate(places):
        found = view(settings, user_id, query)
        assert found.fresh
        assert found.entry is not None
        assert found.entry.body == b"%d" % number


@pytest.mark.parametrize(("ttl_s", "longest_s"), [(0.5, 3600), (100.0, 3600), (1e9, 30)])
def test_an_answer_lives_as_long_as_it_may_and_no_longer_than_the_setting(
    settings: Settings, cache: Cache, keys: Redis, ttl_s: float, longest_s: int
) -> None:
    answer(replace(settings, cache_ttl_s=longest_s), view(settings), ttl_s=ttl_s)
    left_ms = keys.pttl("rec:u_1:?limit=10")
    expected_ms = min(ttl_s, longest_s) * 1000
    assert expected_ms - 400 < left_ms <= expected_ms
    assert keys.pttl("rec:epoch:u_1") > left_ms


@pytest.mark.parametrize("ttl_s", [0, -5, 0.0001])
def test_an_answer_whose_time_is_over_is_not_kept(settings: Settings, cache: Cache, ttl_s: float) -> None:
    answer(settings, view(settings), ttl_s=ttl_s)
    assert view(settings) == CacheView(release=None, epoch=0, entry=None)


def test_forgetting_a_customer_removes_their_answers_and_no_one_elses(settings: Settings, cache: Cache, keys: Redis) -> None:
    cache.publish(release(7))
    everyone = ["u_1", "u_10", "u_1:x", "u", "epoch:u_1"]
    for user_id in everyone:
        for query in (QUERY, "limit=5"):
            answer(settings, view(settings, user_id, query), user_id, query)
    before = view(settings)
    cache.forget("u_1")
    assert view(settings, "u_1").entry is None
    assert view(settings, "u_1", "limit=5").entry is None
    assert all(view(settings, user_id, query).fresh for user_id in everyone[1:] for query in (QUERY, "limit=5"))
    answer(settings, before)
    assert not view(settings).fresh


@pytest.mark.parametrize("key", ["rec:release", "rec:epoch:u_1", "rec:u_1:?limit=10"])
def test_a_value_that_another_program_wrote_is_named(settings: Settings, cache: Cache, keys: Redis, key: str) -> None:
    keys.set(key, "x7")
    with pytest.raises(ContractBroken, match=key.replace("?", r"\?")):
        view(settings)


# The release


def test_the_release_never_moves_backwards(cache: Cache) -> None:
    assert cache.publish(release(9))
    assert cache.publish(release(10))
    assert not cache.publish(release(9))
    assert cache.published() == 10
    assert cache.publish(release(10))
    assert cache.published() == 10


def test_of_releases_published_at_the_same_time_the_greatest_stays(cache: Cache) -> None:
    numbers = random.Random(1).sample(range(1000), 200)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: cache.publish(release(number)), numbers))
    assert cache.published() == max(numbers)


def test_a_release_that_redis_lost_is_put_back_but_never_over_a_newer_one(settings: Settings, cache: Cache, keys: Redis) -> None:
    async def restore(number: int) -> bool:
        async with opened(settings) as reader:
            return await reader.restore(release(number))

    cache.publish(release(7))
    keys.flushdb()
    assert asyncio.run(restore(7))
    assert cache.published() == 7
    cache.publish(release(8))
    assert not asyncio.run(restore(7))
    assert cache.published() == 8


def test_preparing_twice_changes_nothing(cache: Cache, keys: Redis) -> None:
    before = keys.keys()
    cache.prepare()
    assert keys.keys() == before


def test_a_cache_of_another_schema_version_is_refused_in_one_line(cache: Cache, keys: Redis) -> None:
    keys.set("rec:schema", 2)
    with pytest.raises(ContractBroken, match=r"^redis: the cache has schema version 2, this code needs 1: it may be emptied$"):
        cache.prepare()


# Trouble


def test_more_readers_than_connections_wait_for_their_turn(settings: Settings, cache: Cache) -> None:
    async def read_at_once() -> list[CacheView]:
        async with opened(settings) as reader:
            return await asyncio.gather(*(reader.read(f"u_{n}", QUERY) for n in range(300)))

    cache.publish(release(7))
    assert [found.release for found in asyncio.run(read_at_once())] == [7] * 300


def test_an_entry_that_nobody_can_read_spoils_no_other_read_of_the_same_moment(settings: Settings, cache: Cache, keys: Redis) -> None:
    cache.publish(release(7))
    keys.set(answer_key("u_2", QUERY), "rubbish")

    async def read_at_once() -> list[CacheView | BaseException]:
        async with opened(settings) as reader:
            return await asyncio.gather(*(reader.read(f"u_{n}", QUERY) for n in range(1, 4)), return_exceptions=True)

    first, spoiled, last = asyncio.run(read_at_once())
    assert isinstance(spoiled, ContractBroken)
    assert [each.release for each in (first, last) if isinstance(each, CacheView)] == [7, 7]


def test_a_server_that_is_down_is_unavailable_at_once_and_found_again(engines: RunningEngines, settings: Settings, cache: Cache) -> None:
    async def through_a_restart() -> None:
        async with opened(settings) as reader:
            await asyncio.gather(*(reader.ping() for _ in range(20)))
            engines.stop("redis")
            started = time.monotonic()
            for call in (reader.ping, lambda: reader.read("u_1", QUERY), lambda: reader.write("u_1", QUERY, Entry(1, 0, b""), ttl_s=9)):
                with pytest.raises(Unavailable):
                    await call()
            assert time.monotonic() - started < 0.5
            for blocking in (cache.ping, cache.published, lambda: cache.publish(release(8))):
                assert_unavailable_within(0.5, blocking)
            engines.start("redis")
            await asyncio.gather(*(reader.ping() for _ in range(20)))

    asyncio.run(through_a_restart())
    assert cache.publish(release(8))


def test_a_server_that_is_silent_is_unavailable_in_time_and_found_again(engines: RunningEngines, settings: Settings) -> None:
    impatient = replace(settings, cache_timeout_s=0.1, write_timeout_s=0.5)
    cache = Cache(impatient)
    cache.ping()

    async def through_a_pause() -> None:
        async with opened(impatient) as reader:
            await reader.ping()
            engines.pause("redis")
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await reader.read("u_1", QUERY)
            assert time.monotonic() - started < 0.4
            crowd = await asyncio.gather(*(reader.read("u_1", QUERY) for _ in range(100)), return_exceptions=True)
            assert all(isinstance(found, Unavailable) for found in crowd)
            assert time.monotonic() - started < 1.5
            assert_unavailable_within(1.0, cache.ping)
            engines.resume("redis")
            await asyncio.sleep(RETRY_S)
            assert not (await reader.read("u_1", QUERY)).fresh

    asyncio.run(through_a_pause())
    cache.ping()
    cache.close()


def test_no_error_shows_the_credentials_of_the_url(settings: Settings) -> None:
    address = settings.redis_url.removeprefix("redis://")
    for url, becomes in [("redis://someone:s3cret@127.0.0.1:1/0", Unavailable), (f"redis://someone:s3cret@{address}", ContractBroken)]:
        cache = Cache(replace(settings, redis_url=url))
        with pytest.raises(becomes) as failed:
            cache.ping()
        assert "s3cret" not in "".join(format_exception(failed.value))
        cache.close()


@pytest.mark.parametrize(
    "url", ["http://:s3cret@h", "redis://:s3#cret@h:6379", "redis://:s3/cret@h", "redis://h?socket_timeout=s3cret", "s3cret"]
)
def test_a_url_that_cannot_be_read_is_named_by_its_variable_and_not_repeated(url: str) -> None:
    for store in (Cache, CacheReader):
        with pytest.raises(BadSetting, match="CAMPAIGNS_REDIS_URL") as failed:
            store(Settings(redis_url=url))
        assert "cret" not in "".join(format_exception(failed.value))
