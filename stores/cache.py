"""Answers that were given lately, in Redis, each with the release and the customer's epoch that it was computed under.

Keys: `rec:release` is the number of the release that readers trust, `rec:epoch:<user>` changes whenever something new is
known of a customer (odd where it was drawn for that) and is `ERASED` while they are being forgotten, `rec:<user>:?<query>`
is an answer, and `rec:?lease:<user>:?<query>` is there while somebody computes it. An answer counts only under the release
and the epoch of now, so one write outdates one customer's answers, or everybody's. Ids hold no "?", so no key can be read
as another.

Redis may lose any key at any time, and answers are only computed more often: epochs are drawn at random and never come
back, an answer without its epoch counts for nothing, and the release is put back by whoever misses it.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

import redis
import redis.asyncio
from msgspec import Struct
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from stores.breaker import Breaker
from stores.coalescing import Coalesced
from stores.errors import ContractBroken, DriverErrors, Unavailable, translated
from stores.records import Release
from stores.settings import BadSetting, Settings

SCHEMA_VERSION = 1
READER_CONNECTIONS = 32
SCHEMA_KEY = "rec:schema"
RELEASE_KEY = "rec:release"
ERASED = 2**64
"""The epoch of a customer who is being forgotten: none that is drawn is as great. Only the end of the erasure lifts it."""

REDIS_ERRORS: DriverErrors = {
    exceptions.RedisError: ContractBroken,
    exceptions.ConnectionError: Unavailable,
    exceptions.TimeoutError: Unavailable,
    OSError: Unavailable,
    # Refusals of these credentials and rights come as ConnectionError too, but trying again does not help.
    exceptions.AuthenticationError: ContractBroken,
    exceptions.AuthorizationError: ContractBroken,
    exceptions.ExternalAuthProviderError: ContractBroken,
    exceptions.ResponseError: ContractBroken,
    exceptions.OutOfMemoryError: Unavailable,
    exceptions.ReadOnlyError: Unavailable,
    exceptions.TryAgainError: Unavailable,
    exceptions.ClusterDownError: Unavailable,
    exceptions.ClusterError: ContractBroken,
    exceptions.RedisClusterException: ContractBroken,
    exceptions.DataError: ContractBroken,
    exceptions.InvalidResponse: ContractBroken,
    exceptions.LockError: ContractBroken,
    exceptions.PubSubError: ContractBroken,
    exceptions.WatchError: ContractBroken,
    exceptions.ChildDeadlockedError: ContractBroken,
    exceptions.IncorrectPolicyType: ContractBroken,
}

# Gives 1 where the release is the newest that Redis knows, 0 where a newer one was published already.
PUBLISH = """
local published = tonumber(redis.call('GET', KEYS[1]) or '-1')
if published > tonumber(ARGV[1]) then return 0 end
if published < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""

# Draws a customer a new epoch, unless they are being forgotten.
BUMP = """
if redis.call('GET', KEYS[1]) ~= ARGV[3] then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
"""


class Entry(Struct, frozen=True):
    """One answer, ready to be sent, with the release that it was computed from and the epoch that was read before."""

    release: int
    epoch: int
    body: bytes


class CacheView(Struct, frozen=True):
    """What Redis knew at one moment: the release (None: not there), the customer's epoch (0: not there), an answer of any age."""

    release: int | None
    epoch: int
    entry: Entry | None

    @property
    def fresh(self) -> bool:
        """Whether the answer is the one that would be computed now."""
        return self.entry is not None and (self.entry.release, self.entry.epoch) == (self.release, self.epoch)

    @property
    def heard(self) -> bool:
        """Whether the epoch says that something was heard of the customer, be it that a release reflects it by now."""
        return self.epoch % 2 == 1

    @property
    def erased(self) -> bool:
        """Whether the customer is being forgotten: nothing that was known of them may be shown."""
        return self.epoch == ERASED


class Cache:
    """What the assets and the command do with the cache, synchronous. Nothing connects before the first call."""

    def __init__(self, settings: Settings) -> None:
        self._epoch_s = 2 * settings.cache_ttl_s
        self._redis = opened(
            redis.Redis.from_url,
            settings.redis_url,
            socket_timeout=settings.write_timeout_s,
            socket_connect_timeout=settings.write_timeout_s,
            retry=retried_once(Retry),
        )

    def close(self) -> None:
        self._redis.close()

    @translated("redis", REDIS_ERRORS)
    def ping(self) -> None:
        self._redis.ping()

    @translated("redis", REDIS_ERRORS)
    def prepare(self) -> None:
        """Writes the schema version where there is none.

        Raises:
            ContractBroken: the keys were written by another version of the schema.
        """
        self._redis.set(SCHEMA_KEY, SCHEMA_VERSION, nx=True)
        found = number(self._redis.get(SCHEMA_KEY), SCHEMA_KEY)
        if found != SCHEMA_VERSION:
            raise ContractBroken("redis", f"the cache has schema version {found}, this code needs {SCHEMA_VERSION}: it may be emptied")

    @translated("redis", REDIS_ERRORS)
    def publish(self, release: Release) -> bool:
        """Makes this the release that answers count under; False, and nothing changed, where a newer one was published."""
        return bool(self._redis.eval(PUBLISH, 1, RELEASE_KEY, release.number))

    @translated("redis", REDIS_ERRORS)
    def published(self) -> int | None:
        """The number of the published release; None where there is none, or Redis has lost it."""
        return number(self._redis.get(RELEASE_KEY), RELEASE_KEY)

    @translated("redis", REDIS_ERRORS)
    def bump_user(self, user_id: str) -> None:
        """Outdates every answer to this customer, also those that are being computed now. Does not lift `suppress`."""
        self._redis.eval(BUMP, 1, epoch_key(user_id), drawn_epoch(heard=True), self._epoch_s, ERASED)

    @translated("redis", REDIS_ERRORS)
    def suppress(self, user_id: str) -> None:
        """From now on nothing that was known of this customer is shown, whatever was cached or is being computed."""
        self._redis.set(epoch_key(user_id), ERASED)

    @translated("redis", REDIS_ERRORS)
    def forget(self, user_id: str) -> None:
        """Removes every answer to this customer, and outdates those that are being computed now. Walks all keys."""
        self.bump_user(user_id)
        for key in self._answers(user_id):
            self._redis.unlink(key)

    @translated("redis", REDIS_ERRORS)
    def revealing(self, user_id: str) -> int:
        """How many answers are kept that were made of what was known of this customer. Walks all keys."""
        found = ((key, self._redis.get(key)) for key in self._answers(user_id))
        return sum(decoded(value, key.decode()).epoch != ERASED for key, value in found if value is not None)

    @translated("redis", REDIS_ERRORS)
    def lift(self, user_id: str) -> None:
        """Ends `suppress` and removes every key that names this customer: to be done when no store knows them any more."""
        self._redis.unlink(epoch_key(user_id), *self._answers(user_id))

    def _answers(self, user_id: str) -> list[bytes]:
        return list(self._redis.scan_iter(match=answer_key(user_id, "*").replace("?", "\\?"), count=1000))


class CacheReader:
    """What the API does with the cache, asynchronous. Nothing connects before the first call.

    A call takes about `cache_timeout_s` at most for each of: waiting for a connection, connecting, and the answer. A Redis
    that does not answer is left alone for a moment, and its readers are told at once. Reads at the same time are one round trip.
    """

    def __init__(self, settings: Settings) -> None:
        self._longest_s = settings.cache_ttl_s
        pool = opened(
            redis.asyncio.BlockingConnectionPool.from_url,
            settings.redis_url,
            max_connections=READER_CONNECTIONS,
            timeout=settings.cache_timeout_s,
            socket_timeout=settings.cache_timeout_s,
            socket_connect_timeout=settings.cache_timeout_s,
            retry=retried_once(AsyncRetry),
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._breaker = Breaker("redis")
        self._views: Coalesced[tuple[str, str], tuple[object, object, object]] = Coalesced(self._read)

    async def close(self) -> None:
        await self._views.close()
        await self._redis.aclose()

    async def ping(self) -> None:
        with translated("redis", REDIS_ERRORS):
            await self._redis.ping()

    async def read(self, user_id: str, query: str) -> CacheView:
        """The release, the customer's epoch and the answer to this query, all of the same moment."""
        release, epoch, answer = await self._views.read((user_id, query))
        return CacheView(
            release=number(release, RELEASE_KEY),
            epoch=number(epoch, epoch_key(user_id)) or 0,
            entry=None if answer is None else decoded(answer, answer_key(user_id, query)),
        )

    async def _read(self, asked: Sequence[tuple[str, str]]) -> list[tuple[object, object, object]]:
        keys = [RELEASE_KEY]
        for user_id, query in asked:
            keys += (epoch_key(user_id), answer_key(user_id, query))
        with self._breaker, translated("redis", REDIS_ERRORS):
            release, *values = await self._redis.mget(keys)
        return [(release, *pair) for pair in zip(values[::2], values[1::2], strict=True)]

    async def lease(self, user_id: str, query: str, *, ttl_s: float) -> bool:
        """Whether the caller is the one to compute this answer; if not, somebody else is at it, here or in another process.

        The lease ends with `write`, with `end_lease`, or by itself after `ttl_s`. It saves work, and is no lock: after that
        time two may compute the same.
        """
        with self._breaker, translated("redis", REDIS_ERRORS):
            return bool(await self._redis.set(lease_key(user_id, query), b"", nx=True, px=int(ttl_s * 1000)))

    async def end_lease(self, user_id: str, query: str) -> None:
        """Lets somebody else compute this answer."""
        with self._breaker, translated("redis", REDIS_ERRORS):
            await self._redis.unlink(lease_key(user_id, query))

    async def write(self, user_id: str, query: str, entry: Entry, *, ttl_s: float) -> bool:
        """Keeps an answer for `ttl_s`, at most the setting `cache_ttl_s`; False for one whose time is over already.

        Where there was no epoch one is drawn now, and set unless another was set meanwhile: then the answer is outdated.
        """
        ttl_ms = int(min(ttl_s, self._longest_s) * 1000)
        if ttl_ms < 1:
            return False
        epoch = entry.epoch or drawn_epoch(heard=False)
        with self._breaker, translated("redis", REDIS_ERRORS):
            async with self._redis.pipeline(transaction=True) as both:
                if not entry.epoch:
                    both.set(epoch_key(user_id), epoch, nx=True, ex=2 * self._longest_s)
                both.set(answer_key(user_id, query), encoded(entry, epoch), px=ttl_ms)
                both.unlink(lease_key(user_id, query))
                await both.execute()
        return True

    async def run(self) -> str:
        """Which run of Redis answers: another one after it was started again, or another server took over."""
        with self._breaker, translated("redis", REDIS_ERRORS):
            return str((await self._redis.info("server"))["run_id"])

    async def bump(self, user_ids: Iterable[str]) -> None:
        """Outdates every answer to these customers, as `Cache.bump_user` does for one; one round trip for all."""
        with self._breaker, translated("redis", REDIS_ERRORS):
            async with self._redis.pipeline(transaction=False) as all_of_them:
                for user_id in user_ids:
                    all_of_them.eval(BUMP, 1, epoch_key(user_id), drawn_epoch(heard=True), 2 * self._longest_s, ERASED)
                await all_of_them.execute()

    async def suppress(self, user_id: str) -> None:
        """Says again that a customer is being forgotten, where Redis has lost it; for as long as an epoch lasts."""
        with translated("redis", REDIS_ERRORS):
            await self._redis.set(epoch_key(user_id), ERASED, ex=2 * self._longest_s)

    async def restore(self, release: Release) -> bool:
        """Puts the release back that Redis has lost; False, and nothing changed, where a newer one was published."""
        with translated("redis", REDIS_ERRORS):
            return bool(await self._redis.eval(PUBLISH, 1, RELEASE_KEY, release.number))


Opened = TypeVar("Opened")
Retrying = TypeVar("Retrying", Retry, AsyncRetry)


def opened(open_url: Callable[..., Opened], url: str, **options: object) -> Opened:
    """A client or pool for this URL, not connected yet.

    Raises:
        BadSetting: the URL cannot be read; its text is not repeated, because it may hold a password.
    """
    try:
        return open_url(url, **options)
    except ValueError:
        raise BadSetting("CAMPAIGNS_REDIS_URL: not an address of Redis, such as redis://127.0.0.1:6379/0") from None


def retried_once(retry: type[Retrying]) -> Retrying:
    """One more try, at once, over a connection that turned out to be closed; a server that is silent is not asked twice."""
    return retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))


def epoch_key(user_id: str) -> str:
    return f"rec:epoch:{user_id}"


def answer_key(user_id: str, query: str) -> str:
    return f"rec:{user_id}:?{query}"


def lease_key(user_id: str, query: str) -> str:
    """No id begins with "?"."""
    return f"rec:?lease:{user_id}:?{query}"


def drawn_epoch(*, heard: bool) -> int:
    """A number above 0 that was never drawn before; odd where it is drawn because something was heard of the customer."""
    return 2 * (secrets.randbits(62) + 1) + heard


def encoded(entry: Entry, epoch: int) -> bytes:
    """An entry as Redis keeps it: release and epoch on the first line, then the body."""
    return b"%d %d\n%b" % (entry.release, epoch, entry.body)


def decoded(value: object, key: str) -> Entry:
    """The entry that `encoded` wrote.

    Raises:
        ContractBroken: it was not this code that wrote it.
    """
    head, _, body = cast("bytes", value).partition(b"\n")
    match head.split(b" "):
        case [release, epoch] if release.isdigit() and epoch.isdigit():
            return Entry(int(release), int(epoch), body)
    raise ContractBroken("redis", f"{key} does not hold an answer")


def number(value: object, key: str) -> int | None:
    """A number that this code wrote; None where there is none."""
    if value is None:
        return None
    text = cast("bytes", value)
    if not text.isdigit():
        raise ContractBroken("redis", f"{key} does not hold a number")
    return int(text)
