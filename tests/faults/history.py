"""A seeded history of loads: what a year of files may do to the stores, in a few dozen lines each.

`History.load` gives the next file's lines and remembers what they should leave: the entries that are there at the end,
and the lines that belong in quarantine. Loading `final_entries` into empty stores must give the same contents.
"""

import random
from datetime import UTC, datetime, timedelta

import msgspec

CUSTOMERS = [f"u_{n:02d}" for n in range(36)]
INTENTS = ["interest", "purchase", "support", "complaint", None]
GROUPS = ["outdoor", "garden", "home", None]
THINGS = ["tent", "rain jacket", "pair of boots", "lantern", "sleeping bag", "watering can", "hammock", "stove", "rucksack", "map"]
QUESTIONS = ["Is the {} waterproof?", "My {} has a hole", "I would like a {}", "How heavy is the {}?", "Can I send the {} back?"]
TEXTS = [question.format(thing) for question in QUESTIONS for thing in THINGS]
MALFORMED = [
    b'{"user_id": "u_01"',
    b'{"user_id": "u_01", "timestamp": "soon", "message": "x"}',
    b"[1, 2]",
    b'{"message": "whose?"}',
    b'{"user_id": "\xff"}',
]
ALWAYS_OPEN = {"c_00", "c_01"}  # never dismissed, ended or used up: nobody's list may become empty
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

Line = dict[str, object] | bytes


class History:
    """Equal seed, equal history. Nothing in it depends on when or where it is loaded."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._made = 0
        self.records: dict[str, dict[str, object]] = {}
        self.campaigns: dict[str, dict[str, object]] = {}
        self.quarantined: list[bytes] = []
        self._gone: dict[str, dict[str, object]] = {}

    @property
    def final_entries(self) -> list[Line]:
        """What a load from nothing of the same final input holds, in another order than it came in."""
        return [*sorted(self.records.values(), key=lambda each: str(each["timestamp"])), *self.campaigns.values()]

    def first_load(self) -> list[Line]:
        """The campaigns, and some records of every customer."""
        lines: list[Line] = [self._campaign(f"c_{n:02d}") for n in range(10)]
        for user_id in CUSTOMERS:
            lines += [self._new(user_id) for _ in range(3)]
        return lines

    def load(self, lines: int = 40) -> list[Line]:
        """The next file."""
        kinds = {
            self._new_record: 40,
            self._changed: 15,
            self._moved: 4,
            self._deleted: 10,
            self._deleted_customer: 1,
            self._readded: 6,
            self._repeated: 8,
            self._unreadable: 5,
            self._unknown_tombstone: 2,
            self._changed_campaign: 6,
        }
        chosen = self._rng.choices(list(kinds), weights=list(kinds.values()), k=lines)
        return [line for kind in chosen for line in kind()]

    def _new_record(self) -> list[Line]:
        return [self._new(self._rng.choice(CUSTOMERS))]

    def _changed(self) -> list[Line]:
        before = self._any_record()
        return [self._kept(self._content(str(before["message_id"]), str(before["user_id"])))]

    def _moved(self) -> list[Line]:
        """The same record, now another customer's."""
        return [self._kept(self._any_record() | {"user_id": self._rng.choice(CUSTOMERS)})]

    def _deleted(self) -> list[Line]:
        return [self._tombstone(str(self._any_record()["message_id"]))]

    def _deleted_customer(self) -> list[Line]:
        user_id = self._rng.choice(CUSTOMERS)
        return [self._tombstone(message_id) for message_id in [m for m, r in self.records.items() if r["user_id"] == user_id]]

    def _readded(self) -> list[Line]:
        if not self._gone:
            return self._new_record()
        return [self._kept(self._gone[self._rng.choice(sorted(self._gone))])]

    def _repeated(self) -> list[Line]:
        """The same line again, or the same id twice: then the later line counts."""
        before = self._any_record()
        if self._rng.random() < 0.5:
            return [before]
        first = self._content(str(before["message_id"]), str(before["user_id"]))
        return [first, self._kept(self._content(str(before["message_id"]), str(before["user_id"])))]

    def _unreadable(self) -> list[Line]:
        self.quarantined.append(line := self._rng.choice(MALFORMED))
        return [line]

    def _unknown_tombstone(self) -> list[Line]:
        return [{"message_id": f"never_{self._rng.randrange(1000)}", "deleted": True}]

    def _changed_campaign(self) -> list[Line]:
        return [self._campaign(f"c_{self._rng.randrange(2, 14):02d}")]

    def _campaign(self, campaign_id: str) -> dict[str, object]:
        rng, number = self._rng, int(campaign_id[2:])
        campaign: dict[str, object] = {"campaign_id": campaign_id, "name": f"{rng.choice(THINGS)} week {rng.randrange(9)}"}
        if campaign_id in ALWAYS_OPEN:
            campaign |= {"repeatable": True, "category": "camping", "group": GROUPS[number]}
        else:
            ends = (FIRST_DAY + timedelta(days=rng.randrange(400))).isoformat() if rng.random() < 0.2 else None
            status = "paused" if rng.random() < 0.1 else "active"
            campaign |= {"category": rng.choice(THINGS), "group": rng.choice(GROUPS), "ends_at": ends, "status": status}
        self.campaigns[campaign_id] = campaign
        return campaign

    def _new(self, user_id: str) -> dict[str, object]:
        self._made += 1
        return self._kept(self._content(f"m_{self._made:05d}", user_id))

    def _content(self, message_id: str, user_id: str) -> dict[str, object]:
        rng = self._rng
        kinds = {"message": 47, "click": 20, "impression": 12, "conversion": 8, "dismissal": 6, "mailing": 4, "profile": 3}
        event = rng.choices(list(kinds), weights=list(kinds.values()))[0]
        at = FIRST_DAY + timedelta(minutes=rng.randrange(300_000))
        campaign_id = f"c_{rng.randrange(2 if event in ('dismissal', 'conversion') else 0, 14):02d}"
        record = {"message_id": message_id, "user_id": user_id, "timestamp": at.isoformat(), "event": event}
        if event == "mailing":
            return record | {"group": rng.choice(GROUPS[:3])}
        if event == "profile":
            return record | {"consent": {rng.choice(["chat", "mail"]): rng.random() < 0.5}, "attributes": {"tier": rng.choice(["a", "b"])}}
        if event == "message":
            record |= {"message": rng.choice(TEXTS), "role": rng.choices(["customer", "agent"], weights=[9, 1])[0]}
            campaign_id = campaign_id if rng.random() < 0.3 else None
        return record | {"campaign_id": campaign_id, "intent": rng.choice(INTENTS), "channel": rng.choice(["chat", "mail"])}

    def _kept(self, record: dict[str, object]) -> dict[str, object]:
        self.records[str(record["message_id"])] = record
        self._gone.pop(str(record["message_id"]), None)
        return record

    def _tombstone(self, message_id: str) -> dict[str, object]:
        self._gone[message_id] = self.records.pop(message_id)
        return {"message_id": message_id, "deleted": True}

    def _any_record(self) -> dict[str, object]:
        return self.records[self._rng.choice(sorted(self.records))]


def as_file(lines: list[Line]) -> bytes:
    """The lines as JSON Lines."""
    return b"\n".join(line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines)
