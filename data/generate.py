"""Writes sample_conversations.json and campaigns.json: `python data/generate.py [FOLDER]`, the same bytes every time.

The rule that ties words to deeds: every customer has one or two interests. About nine in ten of their messages are about
these, and of the campaigns that they are shown they mostly click and buy those of the same topics. The rest is noise.
"""

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shop import ANSWERS, CAMPAIGN_SETTINGS, CAMPAIGNS, CLOSERS, DOGS, GROUPS, NAMES, OPENERS, PAUSED_ON, PEOPLE, TOPICS

SEED = 20_260_601
CUSTOMERS = 72
START = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = 90
MAILED_ON = (4, 32, 67)  # days after START
PAIRS = (
    ("camping", "hiking"),
    ("camping", "camp kitchen"),
    ("camping", "water"),
    ("hiking", "dogs"),
    ("hiking", "running"),
    ("cycling", "running"),
    ("cycling", "camp kitchen"),
    ("garden", "camp kitchen"),
    ("garden", "dogs"),
    ("water", "running"),
)
INTENTS = {"interest": 50, "purchase": 25, "support": 16, "complaint": 9}
ABOUT_SOMETHING_ELSE = 0.08
NAMES_CAMPAIGN = {"interest": 0.5, "purchase": 0.6, "support": 0.2, "complaint": 0.2}
CLICKS = {True: 0.6, False: 0.05}  # by whether the campaign's topic is an interest of the customer
BUYS = {True: 0.5, False: 0.15}
DISMISSES = {True: 0.02, False: 0.14}

Row = dict[str, object]


class Customer:
    """One made-up person: interests with their weights, and a way of speaking."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.user_id = f"u_{number:03}"
        first, second = rng.sample(rng.choice(PAIRS), 2)
        self.interests = {first: 0.7, second: 0.3} if rng.random() < 0.75 else {first: 1.0}
        self.words = {"name": rng.choice(NAMES), "who": rng.choice(PEOPLE), "dog": rng.choice(DOGS)}
        self.words["Who"] = self.words["who"].capitalize()
        self.talkative = rng.choice((0.15, 0.5, 0.8))
        self.channel = rng.choice(("email", "chat", "chat", "app", "store"))
        self.favourites = {topic: rng.choice(campaigns_of(topic)) for topic in TOPICS}
        self.said: set[str] = set()
        self.bought: set[str] = set()


class Sample:
    """The rows as they come about. `rows` are in no order until `finished` puts them in order of time."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)
        self.rows: list[Row] = []
        self.texts: set[str] = set()
        self.sessions = 0

    def live(self, customer: Customer) -> None:
        """Ninety days of one customer."""
        rng = self.rng
        for first, day in enumerate(sorted(rng.sample(range(1, DAYS - 3), rng.randint(5, 9)))):
            self.converse(customer, day, first=first == 0)
        for day in rng.sample(range(DAYS - 4), rng.randint(5, 8)):
            self.show(customer, rng.choice(CAMPAIGNS)[0], at(rng, day))
        own = {GROUPS[topic] for topic in customer.interests}
        for day in MAILED_ON:
            if rng.random() < 0.5:
                group = rng.choice(sorted(own) if rng.random() < 0.7 else sorted(set(GROUPS.values())))
                self.rows.append(
                    {"user_id": customer.user_id, "at": START + timedelta(days=day, hours=9), "event": "mailing", "group": group}
                )

    def converse(self, customer: Customer, day: int, *, first: bool) -> None:
        """One conversation: what the customer says, sometimes an answer, and what comes of it."""
        rng, moment = self.rng, at(self.rng, day)
        topic = (
            rng.choice([*TOPICS])
            if rng.random() < ABOUT_SOMETHING_ELSE
            else rng.choices([*customer.interests], [*customer.interests.values()])[0]
        )
        intent = rng.choices([*INTENTS], [*INTENTS.values()])[0]
        campaign = customer.favourites[topic] if rng.random() < 0.7 else rng.choice(campaigns_of(topic))
        self.sessions += 1
        session = f"t_{self.sessions:04}"
        row: Row = {
            "user_id": customer.user_id,
            "at": moment,
            "message": self.sentence(customer, topic, intent, first=first),
            "intent": intent,
            "channel": customer.channel,
            "session_id": session,
        }
        if rng.random() < NAMES_CAMPAIGN[intent] and running_at(campaign, moment):
            row["campaign_id"] = campaign
        self.rows.append(row | self.unknown_fields())
        if rng.random() < 0.22:
            self.answer(row, moment + timedelta(minutes=rng.randint(2, 50), seconds=rng.randint(0, 59)))
        if intent in {"interest", "purchase"} and rng.random() < 0.6:
            self.show(customer, campaign, moment + timedelta(hours=rng.randint(1, 40)))

    def answer(self, row: Row, moment: datetime) -> None:
        """What somebody of the shop writes back."""
        text = self.rng.choice(ANSWERS[str(row["intent"])])
        self.rows.append(
            {name: row[name] for name in ("user_id", "intent", "channel", "session_id")} | {"at": moment, "message": text, "role": "agent"}
        )

    def show(self, customer: Customer, campaign: str, moment: datetime) -> None:
        """The customer sees a campaign, and may click and buy, or send it away."""
        rng, likes = self.rng, topic_of(campaign) in customer.interests
        if not running_at(campaign, moment) or campaign in customer.bought:
            return
        self.event(customer, "impression", campaign, moment)
        if rng.random() < CLICKS[likes]:
            moment += timedelta(minutes=rng.randint(1, 20))
            self.event(customer, "click", campaign, moment)
            if rng.random() < BUYS[likes]:
                self.event(customer, "conversion", campaign, moment + timedelta(minutes=rng.randint(3, 600)))
                if not CAMPAIGN_SETTINGS.get(campaign, {}).get("repeatable"):
                    customer.bought.add(campaign)
        elif rng.random() < DISMISSES[likes]:
            self.event(customer, "dismissal", campaign, moment + timedelta(seconds=rng.randint(5, 90)))

    def event(self, customer: Customer, event: str, campaign: str, moment: datetime) -> None:
        channel = self.rng.choice(("web", "app", "email"))
        self.rows.append({"user_id": customer.user_id, "at": moment, "event": event, "campaign_id": campaign, "channel": channel})

    def sentence(self, customer: Customer, topic: str, intent: str, *, first: bool) -> str:
        """Something that this customer has not said before, and nobody in quite these words."""
        rng, options = self.rng, getattr(TOPICS[topic], intent)
        unsaid = [option for option in options if option not in customer.said] or options
        while True:
            template = rng.choice(unsaid)
            words = customer.words | {"thing": rng.choice(TOPICS[topic].things), "place": rng.choice(TOPICS[topic].places)}
            text = framed(template, rng, complaint=intent == "complaint", talkative=customer.talkative, first=first).format(**words)
            if text not in self.texts:
                customer.said.add(template)
                self.texts.add(text)
                return text

    def unknown_fields(self) -> Row:
        """What other systems add now and then: it is kept, though nobody knows it."""
        rng = self.rng
        if rng.random() > 0.04:
            return {}
        return rng.choice(
            ({"order_no": f"LL-{rng.randint(10_000, 99_999)}"}, {"rating": rng.randint(1, 5)}, {"device": {"os": "android", "app": "4.2"}})
        )

    def finished(self, profiles: list[Row]) -> list[Row]:
        """All rows in order of time, with readable times; those that have no id yet are numbered."""
        self.rows.sort(key=order)
        numbered = [{"message_id": f"s_{number:04}"} | row for number, row in enumerate(self.rows, 1)]
        return [
            {name: row.pop(name) for name in ("message_id", "user_id")} | {"timestamp": f"{row.pop('at'):%Y-%m-%dT%H:%M:%SZ}"} | row
            for row in sorted(numbered + profiles, key=order)
        ]


def order(row: Row) -> tuple[object, ...]:
    return row["at"], row["user_id"], str(row.get("event")), str(row.get("campaign_id"))


def framed(template: str, rng: random.Random, *, complaint: bool, talkative: float, first: bool) -> str:
    """A sentence with a greeting before it and a farewell behind, as people have the habit or not."""
    opener = rng.choice(OPENERS) if rng.random() < talkative else ""
    closer = rng.choice(CLOSERS) if rng.random() < talkative else ""
    if complaint:
        opener, closer = opener if opener in {"Hello, ", "Good evening. "} else "", " Regards, {name}." if closer else ""
    if (opener == "Quick question: " and "?" not in template) or (opener == "Me again. " and first):
        opener = ""
    runs_on = opener.endswith((", ", ": ")) and not template.startswith(("I ", "{Who}"))
    return opener + (template[0].lower() + template[1:] if runs_on else template) + closer


def campaigns_of(topic: str) -> list[str]:
    return [campaign for campaign, of_topic, *_ in CAMPAIGNS if of_topic == topic]


def topic_of(campaign: str) -> str:
    return next(topic for campaign_id, topic, *_ in CAMPAIGNS if campaign_id == campaign)


def running_at(campaign: str, moment: datetime) -> bool:
    """Whether the campaign was shown at that time: not after its end, nor after it was paused."""
    until = CAMPAIGN_SETTINGS.get(campaign, {}).get("ends_at", PAUSED_ON.get(campaign))
    return until is None or moment < datetime.fromisoformat(str(until)) - timedelta(days=1)


def at(rng: random.Random, day: int) -> datetime:
    """A time on that day, at which people are awake."""
    return START + timedelta(days=day, hours=rng.randint(6, 20), minutes=rng.randint(0, 59), seconds=rng.randint(0, 59))


def first_customer() -> list[Row]:
    """u_001, written by hand to be read along: camping and hiking, first curious, then a buyer, once in need of help."""
    told = (
        (
            "2026-06-03T18:12:40",
            "interest",
            "c_101",
            "We want to sleep in a tent by the sea this summer, two adults and a tall teenager. Which one is big enough?",
        ),
        (
            "2026-06-09T07:45:02",
            "purchase",
            "c_101",
            "Then it will be the Larch 4 tent from your tent weeks. Please deliver it before the 20th.",
        ),
        (
            "2026-06-24T20:03:15",
            "support",
            "c_101",
            "One of the tent poles is bent after the first storm on the dunes. Where do I get a spare?",
        ),
        (
            "2026-07-02T12:30:51",
            "interest",
            "c_102",
            "My walking boots have given up after nine years. What would you wear for six days on the ridge path?",
        ),
        (
            "2026-07-11T09:14:27",
            "interest",
            "c_104",
            "Are the warm sleeping bags also on offer for tall people? I am 1.96 m and my feet freeze.",
        ),
        (
            "2026-07-20T17:58:09",
            "support",
            "c_103",
            "The little stove that came with our tent order hisses when I turn it off. Is that normal?",
        ),
        ("2026-08-08T10:21:33", "interest", "c_102", "How stiff should hiking boots be when the rucksack weighs fifteen kilos?"),
        ("2026-08-23T19:40:00", "purchase", "c_104", "I would like two sleeping mats to go with the sleeping bags, the thick ones."),
    )
    done = (
        ("2026-06-04T08:00:11", "impression", "c_101"),
        ("2026-06-04T08:01:30", "click", "c_101"),
        ("2026-06-09T07:52:44", "conversion", "c_101"),
        ("2026-07-03T08:00:09", "impression", "c_102"),
        ("2026-07-03T08:02:57", "click", "c_102"),
        ("2026-07-12T08:00:12", "impression", "c_104"),
        ("2026-07-12T08:05:20", "click", "c_104"),
        ("2026-07-21T08:00:10", "impression", "c_103"),
        ("2026-08-02T08:00:14", "impression", "c_112"),
        ("2026-08-02T08:00:31", "dismissal", "c_112"),
    )
    said: list[Row] = [
        {"at": moment, "message": text, "intent": intent, "campaign_id": campaign, "channel": "chat"}
        for moment, intent, campaign, text in told
    ]
    did: list[Row] = [{"at": moment, "event": event, "campaign_id": campaign, "channel": "email"} for moment, event, campaign in done]
    return [{"user_id": "u_001", **row, "at": datetime.fromisoformat(f"{row['at']}Z")} for row in said + did]


def profiles(customers: list[Customer]) -> list[Row]:
    """What customers told about themselves: consent where they care for coffee, the dog where they have one; u_064 asked for quiet."""
    rows: list[Row] = [profile("u_001", 2, consent={"email": True, "sms": False}, attributes={"tier": "gold"})]
    for number, customer in enumerate(customers):
        if "camp kitchen" in customer.interests or number % 3 == 0:
            rows.append(profile(customer.user_id, 1 + number % 5, consent={"email": True, "app": number % 2 == 0}))
        if "dogs" in customer.interests:
            rows.append(profile(customer.user_id, 3 + number % 5, attributes={"pet": "dog"}))
    return [*rows, profile("u_064", 70, suppressed=True)]


def profile(user_id: str, day: int, **said: object) -> Row:
    told = START + timedelta(days=day, hours=10, minutes=int(user_id[2:]) % 60)
    return {"message_id": f"p_{user_id[2:]}_{day:02}", "user_id": user_id, "at": told, "event": "profile"} | said


def campaigns() -> list[Row]:
    return [
        {
            "campaign_id": campaign,
            "name": name,
            "description": text,
            "category": topic,
            "channels": ["email", "web"],
            "status": "active",
            "priority": 0,
        }
        | {"group": GROUPS[topic]}
        | CAMPAIGN_SETTINGS.get(campaign, {})
        for campaign, topic, name, text in CAMPAIGNS
    ]


def main(folder: Path) -> None:
    sample = Sample()
    sample.rows = first_customer()
    customers = []
    for number in range(2, CUSTOMERS + 1):
        customers.append(Customer(number, sample.rng))
        sample.live(customers[-1])
    for name, rows in (("sample_conversations.json", sample.finished(profiles(customers))), ("campaigns.json", campaigns())):
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
