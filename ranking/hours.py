"""Daily hours in a time zone: whether they are open at a moment, and when that changes next."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from stores.records import EPOCH, MILLISECOND, Day, Hours, epoch_ms

WEEKDAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS_AHEAD = 9  # hours of one day in the week open again within seven days, and close on the one after
LATEST = datetime(9999, 12, 1, tzinfo=UTC)


def is_open(hours: Hours, *, now_ms: int) -> bool:
    """Whether some stretch of the hours holds the moment."""
    return any(opens <= now_ms < closes for opens, closes in stretches(hours, now_ms=now_ms))


def next_edge_ms(hours: Hours, *, now_ms: int) -> int | None:
    """The next moment at which they open or close; None where they never do again.

    Where one stretch ends as the next begins (midnight to midnight, every day) nothing changes, but the moment is given.
    """
    edges = (edge for stretch in stretches(hours, now_ms=now_ms) for edge in stretch)
    return min((edge for edge in edges if edge > now_ms), default=None)


def stretches(hours: Hours, *, now_ms: int) -> tuple[tuple[int, int], ...]:
    """The stretches [opens, closes), in epoch ms, from those of the day before yesterday to those of next week."""
    now = EPOCH + now_ms * MILLISECOND
    return stretches_around(hours, now.astimezone(ZoneInfo(hours.zone)).date()) if now < LATEST else ()


@lru_cache(maxsize=4096)
def stretches_around(hours: Hours, today: date) -> tuple[tuple[int, int], ...]:
    """What `stretches` gives at any moment of a day.

    A wall clock that is put forward or back moves the edges with it: a time that is left out becomes the one an hour
    later, and of one that comes twice the first counts.
    """
    zone = ZoneInfo(hours.zone)
    overnight = timedelta(days=1 if hours.closes_minute <= hours.opens_minute else 0)
    days = (today + timedelta(days=ahead) for ahead in range(-2, DAYS_AHEAD))
    opening = [day for day in days if WEEKDAYS[day.weekday()] in hours.days]
    found = [(at(day, hours.opens_minute, zone), at(day + overnight, hours.closes_minute, zone)) for day in opening]
    return tuple((opens, closes) for opens, closes in found if opens < closes)


def at(day: date, minute: int, zone: ZoneInfo) -> int:
    """The moment at which the zone's clocks show so many minutes after midnight of a day; 1440 is the next midnight."""
    later, of_day = divmod(minute, 1440)
    clock = datetime.combine(day + timedelta(days=later), time(of_day // 60, of_day % 60), zone)
    return epoch_ms(clock.astimezone(UTC))
