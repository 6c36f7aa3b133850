"""Charts as inline images, for the markdown that Dagster's UI shows."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

ROW_PX, LABEL_PX, PLOT_PX, VALUE_PX, DOT_PX = 22, 190, 360, 60, 6
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
    rows = "".join(_row(bar, number * ROW_PX + 4, PLOT_PX / widest) for number, bar in enumerate(bars))
    return _image(title, rows, width=LABEL_PX + PLOT_PX + VALUE_PX, height=ROW_PX * len(bars) + 8)


def vector_map(title: str, vectors: NDArray[np.float32], *, marked: int) -> str:
    """Markdown of an image: each row of `vectors`, float32, (n, dim), n >= 1, as a dot at its first two principal components.

    The last `marked` rows are drawn large. Like vectors lie together; nothing names what a dot is.
    """
    around = vectors - vectors.mean(axis=0)
    directions = np.linalg.svd(around, full_matrices=False)[2][:2]
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])  # a component has no sign of its own
    places = np.zeros((len(vectors), 2))
    places[:, : len(directions)] = around @ (directions * signs[:, None]).T
    spots = (places / (np.abs(places).max() or 1.0) + 1) / 2 * (PLOT_PX - 2 * DOT_PX) + DOT_PX
    few = len(vectors) - marked
    dots = "".join(_dot(x, y, strong=number >= few) for number, (x, y) in enumerate(spots))
    return _image(title, dots, width=PLOT_PX, height=PLOT_PX)


def _dot(x: float, y: float, *, strong: bool) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT_PX if strong else DOT_PX // 2}" fill="{STRONG if strong else FILL}"/>'


def _image(title: str, drawn: str, *, width: int, height: int) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    return f"![{title}](data:image/svg+xml;base64,{b64encode(f'{head}{drawn}</svg>'.encode()).decode()})"


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
