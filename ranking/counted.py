"""What all records so far amount to, campaign by campaign: the figures that the platform keeps in SQL, counted as records come in."""

from collections import defaultdict
from collections.abc import Mapping

from msgspec.structs import replace

from ranking.engagement import EngagementWeights, weight_of
from ranking.known import engages
from stores.evidence import CampaignDay, CampaignFigures
from stores.records import Campaign, Record, iso


class Counted:
    """What all records so far amount to, campaign by campaign: the figures that the platform keeps in SQL."""

    def __init__(self, campaigns: Mapping[str, Campaign], weights: EngagementWeights) -> None:
        self._weights = weights
        self._in_group: dict[str, list[str]] = defaultdict(list)
        for key, campaign in campaigns.items():
            if campaign.group:
                self._in_group[campaign.group].append(key)
        self._group_of = {key: campaign.group for key, campaign in campaigns.items() if campaign.group}
        self._seen: dict[str, set[str]] = defaultdict(set)
        self.mailed: dict[str, set[str]] = defaultdict(set)
        self._engaged: dict[str, set[str]] = defaultdict(set)
        self._stale: set[str] = set()
        self.figures: dict[str, CampaignFigures] = {}
        self.days: dict[tuple[str, str], CampaignDay] = {}
        self.newest_ms = 0
        self.outcomes = 0
        """Pairs of a customer and a campaign that they engaged with."""

    def count(self, record: Record) -> None:
        self.newest_ms = max(self.newest_ms, record.timestamp_ms)
        if record.event == "mailing" and record.group:
            self.mailed[record.group].add(record.user_id)
            self._stale.update(self._in_group.get(record.group, ()))
        if not (key := record.campaign_id):
            return
        if record.event == "impression":
            self._seen[key].add(record.user_id)
            self._stale.add(key)
            self._add(key, record, impressions=1)
        elif engages(record, self._weights):
            weight = weight_of(record.event, record.intent, weights=self._weights)
            self.outcomes += record.user_id not in self._engaged[key]
            self._engaged[key].add(record.user_id)
            self._stale.add(key)
            self._add(key, record, weight=weight, **{f"{record.event}s": 1})

    def _add(self, key: str, record: Record, **more: float) -> None:
        day = iso(record.timestamp_ms)[:10]
        today = self.days.get((key, day)) or CampaignDay(campaign_id=key, day=day)
        self.days[key, day] = replace(today, **{name: getattr(today, name) + value for name, value in more.items()})
        if "impressions" not in more:
            total = self.figures.get(key) or CampaignFigures(campaign_id=key)
            grown = {name: getattr(total, name) + value for name, value in more.items()}
            self.figures[key] = replace(total, last_at_ms=max(total.last_at_ms, record.timestamp_ms), **grown)

    def settled(self) -> dict[str, CampaignFigures]:
        """The figures with their distinct customers counted."""
        for key in self._stale:
            exposed = self._seen[key] | self.mailed.get(self._group_of.get(key, ""), set())
            before = self.figures.get(key) or CampaignFigures(campaign_id=key)
            self.figures[key] = replace(before, customers=len(self._engaged[key]), exposed=len(exposed))
        self._stale.clear()
        return dict(self.figures)
