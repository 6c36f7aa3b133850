"""Charts are images that a browser can draw: every bar in proportion, every vector where it belongs."""

import base64
import xml.etree.ElementTree as ET

import numpy as np

from platform_assets.plots import DOT_PX, PLOT_PX, Bar, bar_chart, vector_map

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> ET.Element:
    return image_in(bar_chart("quality", bars))


def image_in(markdown: str) -> ET.Element:
    head, _, encoded = markdown.partition(";base64,")
    assert head == "![quality](data:image/svg+xml"
    return ET.fromstring(base64.b64decode(encoded.removesuffix(")")))


def test_bars_are_as_long_as_their_values_beside_the_highest_whisker() -> None:
    image = drawn(Bar("served", 0.3, 0.2, 0.4, strong=True), Bar("popularity", 0.1))
    assert [float(each.get("width", "")) for each in image.iter(f"{SVG}rect")] == [round(PLOT_PX * 0.75, 1), round(PLOT_PX * 0.25, 1)]
    assert [each.text for each in image.iter(f"{SVG}text")] == ["served", "0.300", "popularity", "0.100"]
    assert len(list(image.iter(f"{SVG}line"))) == 1


def test_labels_are_text_whatever_they_hold_and_no_bars_are_an_image_too() -> None:
    assert [each.text for each in drawn(Bar("<b>&", 0.0)).iter(f"{SVG}text")] == ["<b>&", "0.000"]
    assert len(drawn()) == 0


def test_like_vectors_lie_together_on_the_map_and_the_marked_ones_are_large() -> None:
    vectors = np.array([[1, 0, 0], [0.99, 0.1, 0], [0, 0, 1], [0, 0.1, 0.99]], np.float32)
    dots = list(image_in(vector_map("quality", vectors, marked=1)).iter(f"{SVG}circle"))
    across = [float(dot.get("cx", "")) for dot in dots]
    assert abs(across[0] - across[1]) < 20
    assert abs(across[0] - across[2]) > 200
    assert abs(across[2] - across[3]) < 20
    assert [int(dot.get("r", "")) for dot in dots] == [DOT_PX // 2] * 3 + [DOT_PX]


def test_one_vector_alone_is_a_map_too() -> None:
    assert len(list(image_in(vector_map("quality", np.ones((1, 3), np.float32), marked=0)).iter(f"{SVG}circle"))) == 1
