"""The ways of ranking that are compared: each gives a scene's candidates in an order that is total and uses no future."""

from collections.abc import Callable, Mapping

from ranking.recommend import Tuning, placed
from ranking.sources import ENGAGEMENT, GRAPH, OWN_HISTORY, SIMILAR_CAMPAIGNS, SIMILAR_CUSTOMERS
from ranking.walk import Scene
from stores.evidence import CampaignFigures

SOURCES = (SIMILAR_CUSTOMERS, SIMILAR_CAMPAIGNS, GRAPH, OWN_HISTORY, ENGAGEMENT)
NOTHING = CampaignFigures(campaign_id="")

Order = Callable[[Scene], list[str]]


def order_of(scene: Scene, *, tuning: Tuning) -> list[str]:
    """The candidates as `recommend` gives them under the scene's model, those that no source ranks by lot at the end."""
    found = placed(scene.lineup, scene.rankings, limit=len(scene.candidates), tuning=tuning)
    return completed(scene, [each.campaign_id for each in found])


def completed(scene: Scene, first: list[str]) -> list[str]:
    """These candidates, then all the others by lot."""
    there = set(first)
    return first + [key for key in scene.lot if key not in there]


def by_source(source: str) -> Order:
    """One source alone: what it proposes, best first, then everything else by lot."""

    def order(scene: Scene) -> list[str]:
        ranked = sorted(scene.rankings.get(source, ()), key=lambda each: (each.rank, each.candidate.campaign_id))
        return completed(scene, [each.candidate.campaign_id for each in ranked])

    return order


def at_random(scene: Scene) -> list[str]:
    return list(scene.lot)


def by_popularity(scene: Scene) -> list[str]:
    """By the number of customers who engaged so far."""
    figures = scene.lineup.catalogue.figures
    return by_amount(scene, {key: figures.get(key, NOTHING).customers for key in scene.candidates})


def by_recent_popularity(scene: Scene) -> list[str]:
    """By engagements so far, those of long ago counting less."""
    recent = scene.lineup.recent
    return by_amount(scene, {key: recent[key].engaged if key in recent else 0.0 for key in scene.candidates})


def by_amount(scene: Scene, amounts: Mapping[str, float]) -> list[str]:
    """By an amount, the most first; by lot where it is equal."""
    return sorted(scene.lot, key=lambda key: -amounts[key])


def methods(tuning: Tuning) -> dict[str, Order]:
    """Every way that needs no model, by name, for a scene as it is served without one."""
    return {
        "random": at_random,
        "popularity": by_popularity,
        "recent_popularity": by_recent_popularity,
        **{source: by_source(source) for source in SOURCES},
        "rrf": lambda scene: order_of(scene, tuning=tuning),
    }
