"""Styles, widths and venues: sizes of the files, and what does not change with them."""

import re

import pytest
from PIL import Image
from tueplots import figsizes, fontsizes

from resnet_probe import figures
from resnet_probe.cli import main
from resnet_probe.figures.looks import current
from tests.figures.drawn import draw, looked_at
from tests.figures.tables import ONE

MM = 72 / 25.4  # points


def page_size(path):
    """Width and height of a PDF's page in points."""
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", path.read_bytes())
    return tuple(float(side) for side in box.groups())


def drawing(width="column", **size):
    with figures.style():
        figure, axes = figures.new_figure(width, **size)
        for panel in [axes] if not size.get("cols") else axes.flat:
            panel.plot([0, 1], [1, 3], label="line")
    return figure


@pytest.mark.slow
@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ({}, (85, 178)),
        ({"style": "talk"}, (140, 290)),
        ({"style": "poster"}, (185, 380)),
        ({"width": "page"}, (178, 178)),
        ({"width": 120}, (120, 120)),
        ({"style": "talk", "width": "100"}, (100, 100)),
        ({"venue": "icml2024"}, (3.25 * 25.4, 6.75 * 25.4)),
        ({"venue": "neurips2024"}, (0.49 * 5.5 * 25.4, 5.5 * 25.4)),
    ],
)
def test_files_are_as_wide_as_the_look_says(tmp_path, look, expected):
    with figures.look(**look):
        for name, millimetres in zip(("column", "page"), expected, strict=True):
            pdf, svg, png = figures.save(drawing(name), tmp_path, name)
            assert page_size(pdf)[0] == pytest.approx(millimetres * MM, abs=0.1)
            assert float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg.read_text())[1]) == pytest.approx(
                millimetres * MM, abs=0.1
            )
            with Image.open(png) as image:
                assert image.width == pytest.approx(millimetres / 25.4 * 300, abs=2)
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_widths_of_venues_are_those_of_tueplots():
    assert figsizes.icml2024_half()["figure.figsize"][0] == 3.25
    for venue in figures.VENUES:
        with figures.look(venue=venue):
            assert 40 < current().millimetres("column") <= current().millimetres("page") < 200
            assert current().fonts() == getattr(fontsizes, venue)()


@pytest.mark.parametrize("style", ["talk", "poster"])
def test_a_talk_is_the_picture_on_paper_enlarged(tmp_path, style):
    """Text, lines and marks together: the enlarged file has the same strokes as one drawn on paper at that width."""
    scale, wide = figures.STYLES[style].scale, figures.STYLES[style].column
    with figures.look(style=style):
        (large,) = figures.save(drawing(height=60), tmp_path, "large", ["svg"])
    (small,) = figures.save(drawing(wide / scale, height=60), tmp_path, "small", ["svg"])
    assert page(large) == pytest.approx([scale * side for side in page(small)], rel=1e-4)
    strip = re.compile(r'width="[\d.]+pt" height="[\d.]+pt"|<title>.*?</title>|<dc:title>.*?</dc:title>')
    assert strip.sub("", large.read_text()) == strip.sub("", small.read_text())


def page(svg):
    return [float(side) for side in re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg.read_text()).groups()]


def test_what_is_drawn_on_an_enlarged_page_fills_it(tmp_path):
    """The page's coordinates are enlarged with it: the first operator of its contents says so."""
    import zlib

    with figures.look(style="poster"):
        (pdf,) = figures.save(drawing(), tmp_path, "fig", ["pdf"])
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf.read_bytes(), re.DOTALL)
    contents = []
    for stream in streams:
        try:
            contents.append(zlib.decompress(stream))
        except zlib.error:
            continue
    assert any(b"2.5 0 0 2.5 0 0 cm" in content[:80] for content in contents)


def test_panels_stand_below_one_another_where_they_would_be_too_narrow():
    with figures.look(width="column"):
        figure = drawing("page", height=60, cols=3)
    looked_at(figure)
    assert figure.get_size_inches() * 25.4 == pytest.approx((85, 180), abs=0.1)
    lefts = {round(axes.get_position().x0, 2) for axes in figure.axes}
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert len(lefts) == 1
    assert tops == sorted(tops, reverse=True)


def test_legends_have_as_many_columns_as_fit_and_panels_keep_their_size():
    heights = {}
    for names in (["a", "b", "c", "d"], [f"a-rather-long-name-of-a-network-{n}" for n in range(4)]):
        with figures.style():
            figure, axes = figures.new_figure(height=60)
            for name in names:
                axes.plot([0, 1], label=name)
            legend = figures.legend_above(figure)
        looked_at(figure)
        assert legend.get_window_extent().width <= figure.bbox.width
        heights[legend._ncols] = axes.get_window_extent().height
    assert sorted(heights) == [1, 4]
    assert heights[1] == pytest.approx(heights[4], rel=0.02)


def test_long_names_of_axes_are_broken_once():
    with figures.style():
        _, axes = figures.new_figure(60)
        axes.set_xlabel("a name of an axis that has many more words than fit, with $x + y$")
        axes.set_ylabel("short")
    assert axes.get_xlabel().count("\n") == 1
    assert "$x + y$" in axes.get_xlabel()
    assert axes.get_ylabel() == "short"


def test_looks_end_with_their_context():
    with figures.look(style="talk"):
        with figures.look(width=100):
            assert (current().style, current().width) == ("talk", 100)
        assert current().width is None
    assert current().scale == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--style", "tlak"], "'tlak' is not one of 'paper', 'talk', 'poster'"),
        (["--width", "wide"], "no figure width 'wide'; give 'column', 'page' or millimetres"),
        (["--width", "5"], "a figure 5 mm wide; give 40 to 2000 mm"),
        (["--width", "nan"], "a figure nan mm wide"),
        (["--venue", "nerips2024"], "no venue 'nerips2024'; did you mean neurips2024?"),
    ],
)
def test_values_that_cannot_be_are_one_line(tmp_path, capsys, words, message):
    assert main(["replot", "--run", str(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_commands_draw_in_the_look_that_is_asked_for(tmp_path):
    words = ["paths", "--depth", "20", "--out", str(tmp_path), "--format", "pdf", "--quiet"]
    assert main([*words, "--style", "talk"]) == 0
    assert page_size(tmp_path / "paths.pdf")[0] == pytest.approx(140 * MM, abs=0.1)
    assert main(["replot", "--run", str(tmp_path), "--width", "120", "--format", "pdf", "--quiet"]) == 0
    assert page_size(tmp_path / "120" / "paths.pdf")[0] == pytest.approx(120 * MM, abs=0.1)
    assert page_size(tmp_path / "paths.pdf")[0] == pytest.approx(140 * MM, abs=0.1)  # not written over
    assert current().scale == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lesion", "zoo", "lesion_pairs"])
def test_every_font_in_a_pdf_is_type_42(tmp_path, name):
    with figures.look(style="talk"):
        (pdf,) = figures.save(draw(name, ONE), tmp_path, name, ["pdf"])
    content = pdf.read_bytes()
    kinds = set(re.findall(rb"/Subtype /(Type\w+|CIDFontType\w+|TrueType)\b", content))
    assert kinds & {b"CIDFontType2", b"TrueType"}
    assert not kinds & {b"Type1", b"Type3", b"CIDFontType0"}
    assert b"/FontFile2" in content
