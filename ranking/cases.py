"""Cases to judge a ranking by, and to fit one on: what to rank for whom, knowing what, and what the customer then responded to."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from stores.records import DAY_MS, Campaign, Record

Moment = Literal["given", "next", "inside"]
WORD = re.compile(r"\w+")
LONGEST_NAME = 12
OUTCOMES = ("click", "conversion")


class Case(Struct, frozen=True, kw_only=True):
    """Rank `candidates` (None: all that may be offered) for a customer, knowing what is older than `at_ms` and the records `since`.

    `truth` is what the customer responded to then, all of it known by `ended_ms`. `barred` is no candidate: what the customer
    has already named in the running conversation.
    """

    case_id: str
    user_id: str
    at_ms: int
    truth: frozenset[str]
    ended_ms: int
    moment: Moment = "given"
    candidates: frozenset[str] | None = None
    since: tuple[Record, ...] = ()
    barred: frozenset[str] = frozenset()


def cases_of(records: Iterable[Record], campaigns: Mapping[str, Campaign]) -> list[Case]:
    """A time split of the records' own: before each conversation, and halfway through it; in order of time.

    A conversation is what one customer did under one session_id, or on one day (UTC) where there is none. Its truth is the
    campaigns clicked or converted in it.
    """
    sessions: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        sessions[conversation_of(record)].append(record)
    names, found = named(campaigns), list[Case]()
    for (user_id, session), held in sessions.items():
        held.sort(key=lambda record: (record.timestamp_ms, record.message_id))
        outcomes = [record for record in held if record.event in OUTCOMES and record.role == "customer" and record.campaign_id in campaigns]
        if not outcomes:
            continue
        begins = held[0].timestamp_ms if held[0].session_id else held[0].timestamp_ms // DAY_MS * DAY_MS
        truth = frozenset(record.campaign_id for record in outcomes if record.campaign_id)
        before = Case(
            case_id=f"{user_id} {session}", user_id=user_id, at_ms=begins, truth=truth, ended_ms=held[-1].timestamp_ms, moment="next"
        )
        found.append(before)
        if held[0].session_id and (inside := halfway(before, held, outcomes, names)):
            found.append(inside)
    return sorted(found, key=lambda case: (case.at_ms, case.user_id, case.moment, case.case_id))


def conversation_of(record: Record) -> tuple[str, str]:
    """Who a record is of, and which of their conversations it belongs to: the session, or the day (UTC) where there is none."""
    return record.user_id, record.session_id or f"day {record.timestamp_ms // DAY_MS}"


def halfway(before: Case, held: Sequence[Record], outcomes: Sequence[Record], names: Mapping[str, str]) -> Case | None:
    """The case after the first half of what the customer says in a conversation, or None where that is nothing.

    Outcomes that carry the time at which the conversation began have no time of their own: they are truth, never evidence.
    Nor are the other marks of that time. What the customer has named so far is neither truth nor candidate.
    """
    said = [record for record in held if record.speaks]
    if len(said) < 2:
        return None
    begins, now_ms = held[0].timestamp_ms, said[len(said) // 2].timestamp_ms
    since = tuple(r for r in held if r.timestamp_ms < now_ms and (r.event == "message" or r.timestamp_ms > begins))
    undated = {record.campaign_id for record in outcomes if not begins < record.timestamp_ms < now_ms}
    barred = mentioned(" ".join(record.message or "" for record in since), names)
    truth = frozenset(key for key in undated if key and key not in barred)
    if not truth or not since:
        return None
    return Case(
        case_id=f"{before.case_id} inside",
        user_id=before.user_id,
        at_ms=before.at_ms,
        truth=truth,
        ended_ms=before.ended_ms,
        moment="inside",
        since=since,
        barred=barred,
    )


def named(campaigns: Mapping[str, Campaign]) -> dict[str, str]:
    """The campaigns by name, as `mentioned` looks for it: lower case, words alone."""
    return {" ".join(WORD.findall(campaign.name.lower())[:LONGEST_NAME]): key for key, campaign in sorted(campaigns.items())}


def mentioned(text: str, names: Mapping[str, str]) -> frozenset[str]:
    """The campaigns whose whole names stand in a text."""
    words = WORD.findall(text.lower())
    runs = (" ".join(words[start : start + length]) for start in range(len(words)) for length in range(1, LONGEST_NAME + 1))
    return frozenset(names[run] for run in runs if run in names)
