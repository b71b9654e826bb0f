import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from resnet_probe import figures
from resnet_probe.figures.drawing import _LOOK as SETTINGS

ORIGIN = {"command": "resnet-probe paths --depth 110", "checkpoint_sha256": "4bfd", "version": "0.1.0"}


def drawing(**size):
    with figures.style():
        figure, axes = figures.new_figure(**size)
        axes.plot([0, 1, 2], [1, 3, 2], marker="o")
        axes.set_xlabel("length $2^{54}$")
    return figure


def test_style_leaves_nothing_behind():
    before = dict(matplotlib.rcParams)
    with figures.style():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert dict(matplotlib.rcParams) == before


def test_style_does_not_mix_with_the_settings_of_the_user():
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "text.usetex": True}):
        with figures.style():
            assert matplotlib.rcParams["font.size"] == 7.5
            assert not matplotlib.rcParams["axes.grid"]
            assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["font.size"] == 30


def test_text_is_of_the_size_that_journals_ask_for():
    with figures.style():
        sizes = [value for key, value in matplotlib.rcParams.items() if key in SETTINGS and key.endswith("size")]
        text = [matplotlib.rcParams[f"{part}.labelsize"] for part in ("axes", "xtick", "ytick")]
    assert sizes
    assert all(7 <= size <= 8 for size in [*text, *[size for size in sizes if size > 5]])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({}, (85, 85 * 0.62)),
        ({"width": "page", "height": 60}, (178, 60)),
        ({"width": 100, "aspect": 0.5}, (100, 50)),
    ],
)
def test_figures_are_as_wide_as_a_column_or_a_page(size, expected):
    assert drawing(**size).get_size_inches() * 25.4 == pytest.approx(expected)


def test_new_figure_makes_the_grid_that_is_asked_for():
    with figures.style():
        _, axes = figures.new_figure("page", rows=2, cols=3, sharex=True)
    assert axes.shape == (2, 3)


def test_sizes_that_do_not_exist_are_named():
    with pytest.raises(LookupError, match="'poster'; give 'column', 'page' or millimetres"):
        figures.new_figure("poster")
    with pytest.raises(ValueError, match="85 x 0 mm; both sides must be positive"):
        figures.new_figure(height=0)


def test_networks_are_told_apart_by_colour_and_by_line_or_marker():
    names = ["resnet20", "resnet56", "resnet110", "vgg16", "plain56", "lenet5", "other"]
    looks = figures.network_colours(names)
    assert list(looks) == names
    assert len({look["color"] for look in looks.values()}) == len(names)
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks.values()}) == len(names)


def test_a_family_keeps_its_colour_whatever_stands_beside_it():
    blue, vermillion, green = (figures.PALETTE[name] for name in ("blue", "vermillion", "green"))
    for names in (["resnet56-4bfd9763"], ["vgg16_half_jpeg", "resnet56"], ["x", "plain20", "ResNet110", "VGG11"]):
        for name, look in figures.network_colours(names).items():
            expected = {"r": blue, "v": vermillion, "p": green}.get(name[0].lower())
            assert expected is None or look["color"] == expected


def test_more_networks_than_colours_still_differ():
    looks = figures.network_colours([f"resnet{n}" for n in range(14)])
    assert len({(look["color"], str(look["linestyle"]), look["marker"]) for look in looks.values()}) == 14


def test_repeated_names_count_once():
    assert figures.network_colours(["a", "b", "a"]) == figures.network_colours(["a", "b"])


def test_palette_differs_for_red_green_blind_readers():
    # Source of the matrix: Machado, Oliveira, Fernandes 2009, deuteranomaly of severity 1.0.
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    linear = np.array([to_rgb(colour) for colour in figures.PALETTE.values()]) ** 2.2
    seen = np.clip(linear @ deuteranopia.T, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
    assert distances.min() > 0.15


def test_labels_are_short_and_hold_no_math():
    assert figures.label("resnet56") == "resnet56"
    assert figures.label("a$b$") == r"a\$b\$"
    assert figures.label("_best") == " _best"
    long = figures.label("resnet110-" + "x" * 60 + "-epoch197")
    assert len(long) == 34
    assert long.startswith("resnet110-")
    assert long.endswith("-epoch197")


def test_save_writes_every_format_once(tmp_path):
    paths = figures.save(drawing(), tmp_path / "new", "fig")
    assert paths == [tmp_path / "new" / f"fig.{ending}" for ending in ("pdf", "svg", "png")]
    assert set((tmp_path / "new").iterdir()) == set(paths)
    assert [path.name for path in figures.save(drawing(), tmp_path, "b", ["png"])] == ["b.png"]


def test_a_file_does_not_depend_on_those_saved_before_it(tmp_path):
    figure = drawing()
    alone = {ending: figures.save(drawing(), tmp_path / ending, "fig", [ending])[0] for ending in figures.FORMATS}
    again = figures.save(figure, tmp_path / "all", "fig") + figures.save(
        figure, tmp_path / "again", "fig", ["svg", "pdf"]
    )
    for path in again:
        assert path.read_bytes() == alone[path.suffix[1:]].read_bytes(), path


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    mode = (tmp_path / "plain").stat().st_mode
    assert {path.stat().st_mode for path in figures.save(drawing(), tmp_path, "fig")} == {mode}


def test_unknown_formats_are_named_before_anything_is_written(tmp_path):
    with pytest.raises(LookupError, match="no figure format 'jpg'; choose from pdf, svg, png"):
        figures.save(drawing(), tmp_path / "new", "fig", ["pdf", "jpg"])
    assert not (tmp_path / "new").exists()


def test_a_drawing_that_fails_leaves_the_old_files(tmp_path, monkeypatch):
    figures.save(drawing(), tmp_path, "fig")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    figure = drawing(height=70)
    draw = figure.savefig

    def fail_late(path, *, format, **options):
        if format == "png":
            raise RuntimeError("cannot draw")
        draw(path, format=format, **options)

    monkeypatch.setattr(figure, "savefig", fail_late)
    with pytest.raises(RuntimeError, match="cannot draw"):
        figures.save(figure, tmp_path, "fig")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_pdf_embeds_truetype_and_says_where_it_comes_from(tmp_path):
    content = figures.save(drawing(), tmp_path, "fig", ["pdf"], ORIGIN)[0].read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    for value in ORIGIN.values():
        assert value.encode() in content


def test_svg_needs_no_font_and_says_where_it_comes_from(tmp_path):
    root = ET.parse(figures.save(drawing(), tmp_path, "fig", ["svg"], ORIGIN)[0]).getroot()
    assert not root.findall(".//{http://www.w3.org/2000/svg}text")
    description = root.find(".//{http://purl.org/dc/elements/1.1/}description").text
    assert all(value in description for value in ORIGIN.values())
    assert root.find(".//{http://purl.org/dc/elements/1.1/}date") is None
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(85 / 25.4 * 72, abs=0.01)


def test_png_has_print_resolution_and_says_where_it_comes_from(tmp_path):
    with Image.open(figures.save(drawing(), tmp_path, "fig", ["png"], ORIGIN)[0]) as image:
        assert ORIGIN.items() <= image.text.items()
        assert image.width == pytest.approx(85 / 25.4 * 300, abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


PROGRAM = """
import sys
from tests.figures.test_figures import drawing, ORIGIN, figures
figures.save(drawing(), sys.argv[1], "fig", metadata=ORIGIN)
assert "matplotlib.pyplot" not in sys.modules
"""


def test_another_process_makes_the_same_bytes_and_needs_no_pyplot(tmp_path):
    figures.save(drawing(), tmp_path / "here", "fig", metadata=ORIGIN)
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "0", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "there")],
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name


def test_without_a_pdf_its_writer_is_not_imported(tmp_path):
    """It takes a third of a second, with all of fontTools."""
    program = """
import sys
from resnet_probe import figures
figures.save(figures.new_figure()[0], sys.argv[1], "fig", ["svg", "png"])
assert "matplotlib.backends.backend_pdf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    assert {path.name for path in tmp_path.iterdir()} == {"fig.svg", "fig.png"}
