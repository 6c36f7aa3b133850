"""Bar charts as inline images, for the markdown that Dagster's UI shows."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from msgspec import Struct

ROW_PX, LABEL_PX, PLOT_PX, VALUE_PX = 22, 190, 360, 60
FILL, STRONG, WHISKER = "#9db8d9", "#2f6db5", "#333333"


class Bar(Struct, frozen=True):
    """One bar from 0 to `value` >= 0, with a whisker from `low` to `high` where those are given."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    strong: bool = False


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Markdown of an image: horizontal bars in the order given, their values beside them. No fonts or scripts are fetched."""
    widest = max((max(bar.value, bar.high or 0.0) for bar in bars), default=0.0) or 1.0
    width, height = LABEL_PX + PLOT_PX + VALUE_PX, ROW_PX * len(bars) + 8
    rows = "".join(_row(bar, number * ROW_PX + 4, PLOT_PX / widest) for number, bar in enumerate(bars))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    return f"![{title}](data:image/svg+xml;base64,{b64encode(f'{head}{rows}</svg>'.encode()).decode()})"


def _row(bar: Bar, top: int, scale: float) -> str:
    middle, length = top + ROW_PX // 2 - 2, max(0.0, bar.value) * scale
    label = f'<text x="{LABEL_PX - 6}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>'
    fill = STRONG if bar.strong else FILL
    drawn = f'<rect x="{LABEL_PX}" y="{top + 2}" width="{length:.1f}" height="{ROW_PX - 8}" fill="{fill}"/>'
    value = f'<text x="{LABEL_PX + PLOT_PX + 6}" y="{middle + 4}">{bar.value:.3f}</text>'
    if bar.low is None or bar.high is None:
        return label + drawn + value
    left, right = (LABEL_PX + max(0.0, end) * scale for end in (bar.low, bar.high))
    whisker = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{WHISKER}"/>'
    return label + drawn + whisker + value
