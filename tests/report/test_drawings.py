import os
import re
from xml.etree import ElementTree

import pytest

from resnet_probe.analyses.paths import PATHS
from resnet_probe.figures import save
from resnet_probe.report.drawings import figure_of, inline
from resnet_probe.tables import read_run
from tests.report.pages import save_paths

(PLOT,) = PATHS.plots
HOSTILE = """<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 viewBox="0 0 144 72" onload="alert(1)"><script>alert(2)</script><style>*{color:red}</style><foreignObject/>
 <defs><clipPath id="c"><rect width="1" height="2"/></clipPath><path id="p" d="M0 0"/></defs>
 <g clip-path="url(#c)" style="fill: url(#c)" onclick="x()"><use xlink:href="#p"/><use href="https://example.org/a#b"/>
 <image href="data:image/png;base64,AAAA"/><image href="https://example.org/x.png"/>
 <rect style="fill: url(https://example.org/y)"/>
 <rect style="fill: \\75 rl(https://example.org/y)" fill="\\75rl(//example.org)"/>
 <rect style="mask-image: url(https://example.org/y); stroke: image-set('https://example.org/y' 1x); opacity: 1"/>
 </g></svg>"""


def test_ids_are_its_own_and_nothing_runs_or_fetches():
    root = ElementTree.fromstring(inline(HOSTILE, "f1-", "a <label>"))
    found = {(element.tag, name): value for element in root.iter() for name, value in element.attrib.items()}
    text = ElementTree.tostring(root, encoding="unicode")
    for word in ("alert", "script", "style>", "foreignObject", "onload", "onclick", "example.org"):
        assert word not in text
    assert found["svg", "aria-label"] == "a <label>"
    assert found["svg", "viewBox"] == "0 0 144 72"
    assert found["svg", "style"] == "--wide: 2.00in"
    assert found["g", "clip-path"] == found["g", "style"].removeprefix("fill: ") == "url(#f1-c)"
    assert [use.attrib for use in root.iter("use")] == [{"href": "#f1-p"}, {}]
    assert [image.attrib for image in root.iter("image")] == [{"href": "data:image/png;base64,AAAA"}, {}]
    assert "xmlns" not in text
    assert [rect.attrib for rect in root.iter("rect")][-2:] == [{"style": ""}, {"style": " opacity: 1"}]


def test_what_is_no_svg_is_none():
    with pytest.raises(ElementTree.ParseError, match="the root is html, not svg"):
        inline("<html><svg/></html>", "f1-", "label")


@pytest.mark.slow
def test_what_matplotlib_draws_stays(table):
    """Every style and attribute of our own figures passes the list."""
    from tests.figures.drawn import draw

    for name in ("lesion_pairs", "paths", "iterative"):
        (path,) = save(draw(name, ["one"]), table.folder, name, ["svg"])
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        kept = ElementTree.fromstring(inline(path.read_text(encoding="utf-8"), "", "label"))

        def styles(tree):
            tags = {"path", "use", "image", "g", "rect"}
            return [e.get("style") for e in tree.iter() if e.tag.rpartition("}")[2] in tags and e.get("style")]

        assert styles(kept) == styles(root)


@pytest.fixture
def table(tmp_path):
    save_paths(tmp_path)
    (found,) = read_run([tmp_path]).tables
    return found


def test_a_figure_is_drawn_from_the_table_where_none_was_saved(table):
    drawn = figure_of(table, PLOT, "x-", "label")
    assert drawn.startswith('<svg viewBox="0 0 ')
    assert len(re.findall("<path", drawn)) > 20
    assert sorted(path.name for path in table.folder.iterdir()) == ["paths.csv", "paths.json"]


@pytest.mark.parametrize(("content", "age", "taken"), [("mark", 5, True), ("mark", -5, False), ("<broken", 5, False)])
def test_the_saved_figure_is_taken_if_it_is_whole_and_not_older_than_the_table(table, content, age, taken):
    saved = table.folder / "paths.svg"
    saved.write_text(HOSTILE.replace('id="p"', f'id="{content}"') if content == "mark" else content, encoding="utf-8")
    then = table.path.stat().st_mtime + age
    os.utime(saved, (then, then))
    assert ('id="x-mark"' in figure_of(table, PLOT, "x-", "label")) is taken
