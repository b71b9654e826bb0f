from itertools import product
from math import comb

import pytest

from resnet_probe.report.anatomy import collect, colour, picture, remaining
from resnet_probe.tables import read_run
from tests.report.pages import save_inspect, save_lesion, save_paths


@pytest.mark.parametrize("deleted", range(6))
def test_remaining_paths_are_those_counted_one_by_one(deleted):
    """Five blocks and a unit of two parallel ways: every path, with its length, by brute force."""
    everyone = list(product((0, 1), (0, 1), (0, 1), (0, 1), (0, 1), ("left", "right")))
    kept = [path for path in everyone if not any(path[:deleted])]
    counts = [sum(sum(path[:5]) == k for path in everyone) for k in range(6)]
    expected = tuple(sum(sum(path[:5]) == k for path in kept) for k in range(6 - deleted))
    assert remaining(counts, deleted) == expected


def test_counts_that_have_no_such_factor_leave_nothing():
    assert remaining([1, 1, 1], 1) == ()
    assert remaining([1], 1) == ()
    assert remaining([comb(54, k) for k in range(55)], 54) == (1,)


def test_units_carry_what_all_tables_say(tmp_path):
    save_inspect(tmp_path)
    save_lesion(tmp_path)
    found = collect(read_run([tmp_path]), "net")
    assert [unit.name for unit in found.units] == ["conv1", "a", "b", "c", "fc"]  # the ReLU shows nothing
    assert (found.intact, found.worst, found.counts) == (5.0, 30.0, (1, 3, 3, 1))
    assert found.units[2].numbers == {
        "parameters": "14,000", "output": "32 × 4 × 4", "error without it": "30 % (29 to 31)",
        "added error": "+25 points",
    }  # fmt: skip


def test_without_a_table_of_units_the_deleted_ones_are_drawn(tmp_path):
    save_lesion(tmp_path)
    run = read_run([tmp_path])
    assert [unit.name for unit in collect(run, "net").units] == ["a", "b", "c"]
    assert collect(run, "net").counts == ()  # how many paths lead through them is not known
    save_paths(tmp_path)
    assert collect(read_run([tmp_path]), "net").counts == (1, 3, 3, 1)
    assert collect(run, "other") is None


def test_a_stage_begins_a_row_and_nothing_leaves_the_picture(tmp_path):
    save_inspect(tmp_path)
    drawn = picture(collect(read_run([tmp_path]), "net"))
    assert [line.label for line in drawn.lines] == ["stage 1", "stage 2"]
    assert [line.shape for line in drawn.lines] == ["16×8×8", "32×4×4"]
    assert len({(at.x, at.y) for at in drawn.placed}) == 5
    assert all(30 < at.x < drawn.width - 28 and 38 < at.y < drawn.height - 24 for at in drawn.placed)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_numbers_on_every_colour_of_the_scale_can_be_read():
    previous = 2.0
    for step in range(-1, 102):
        fill, ink = colour(step / 100)
        low, high = sorted((luminance(fill), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG AA
        assert luminance(fill) <= previous + 1e-9  # darker is worse
        previous = luminance(fill)
    assert colour(0)[0] == "#ffffcc"
    assert colour(1)[0] == "#800026"
