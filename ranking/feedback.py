"""What a customer has said and done since the last refresh, laid over what the graph knows of them."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from stores.evidence import OwnTie
from stores.records import MOST_IMPRESSION_TIMES, Record


def with_feedback(own: Sequence[OwnTie], posted: Iterable[Record]) -> tuple[OwnTie, ...]:
    """The customer's own ties after these events too, by campaign_id: what they dismissed, converted and were shown.

    Of several events with one message_id the last one counts. A refresh that is under way may have brought some of them
    into the graph already: a dismissal and a conversion are then the same twice over, and an impression counts twice until
    its end. Engagement waits for the refresh.
    """
    ties = {tie.campaign_id: tie for tie in own}
    for record in {record.message_id: record for record in posted}.values():
        if record.campaign_id:
            ties[record.campaign_id] = after(ties.get(record.campaign_id, OwnTie(campaign_id=record.campaign_id)), record)
    return tuple(ties[campaign_id] for campaign_id in sorted(ties))


def after(tie: OwnTie, record: Record) -> OwnTie:
    """The tie as one more event leaves it."""
    match record.event:
        case "dismissal":
            return replace(tie, dismissed_at_ms=max(tie.dismissed_at_ms, record.timestamp_ms, 1))
        case "conversion":
            return replace(tie, converted_at_ms=max(tie.converted_at_ms, record.timestamp_ms, 1))
        case "impression":
            times_ms = tuple(sorted({*tie.shown_at_ms, record.timestamp_ms}))[-MOST_IMPRESSION_TIMES:]
            return replace(tie, shown=tie.shown + 1, shown_at_ms=times_ms)
    return tie
