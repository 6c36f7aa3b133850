"""Bar charts are images that a browser can draw, with every bar in proportion."""

import base64
import xml.etree.ElementTree as ET

from platform_assets.plots import PLOT_PX, Bar, bar_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> ET.Element:
    head, _, encoded = bar_chart("quality", bars).partition(";base64,")
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
