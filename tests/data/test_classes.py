"""Class maps: against a dictionary looked up image by image."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_probe.data import Data, DataError, can_match, load_data, read_classes, with_classes

NAMES = [f"class {number}" for number in range(8)]


def pets(classes=("class 5", "class 1", "class 6"), labels=(0, 2, 1, 1, 0)):
    images = torch.arange(len(labels) * 4, dtype=torch.uint8).reshape(-1, 1, 2, 2)
    return Data("pets", "all", images, torch.tensor(labels), tuple(classes), "none")


@given(st.permutations(NAMES), st.lists(st.integers(0, 2), min_size=1))
def test_labels_are_the_outputs_of_their_names(order, labels):
    classes = order[:3]
    expected = [NAMES.index(classes[label]) for label in labels]
    index = {name: NAMES.index(name) for name in classes}
    for known in (NAMES, index):
        found = with_classes(pets(classes, labels), known, 8)
        assert found.labels.tolist() == expected
        assert [found.classes[label] for label in found.labels] == [classes[label] for label in labels]
        assert len(found.classes) == 8
        assert found.mapped
        assert torch.equal(found.images, pets(classes, labels).images)


def test_classes_that_fit_already_stay():
    data = pets(NAMES[:3])
    assert with_classes(data, NAMES[:3], 3) is data


def test_classes_that_are_numbers_keep_their_labels():
    data = with_classes(pets("012"), NAMES, 8)
    assert (data.labels.tolist(), data.classes) == ([0, 2, 1, 1, 0], tuple(NAMES))
    assert with_classes(pets("012"), {"0": 7, "1": 0, "2": 3}, 8).labels.tolist() == [7, 3, 0, 0, 7]


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (NAMES[:5], "5 class names for a network of 8 outputs; give one for each"),
        ({"class 5": 8}, "class 'class 5' is output 8; the network has 0 to 7"),
        ({"class 5": -1}, "is output -1"),
        ({"class 5": 1, "class 6": 2}, "class 'class 1' of pets is none of the 2 in the class map"),
        ([*NAMES[:7], "class 1"], "class 'class 1' of pets is the name of 2 outputs"),
        (
            [*NAMES[:6], "klass 6", "x"],
            "class 'class 6' of pets is none of the 8 in the class map: add it, or rename it; did",
        ),
    ],
)
def test_a_map_that_does_not_fit_is_one_line(known, words):
    with pytest.raises(DataError) as caught:
        with_classes(pets(), known, 8)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_that_are_no_classes_have_no_map():
    data = Data("mine", "all", torch.zeros(2, 3), torch.zeros(2), (), "none")
    with pytest.raises(DataError, match="whose labels are no classes"):
        with_classes(data, NAMES, 8)
    assert not can_match(data, NAMES)


def test_names_match_when_each_is_there_once():
    assert can_match(pets(), NAMES)
    assert not can_match(pets(("class 1", "cat")), NAMES)
    assert not can_match(pets(), [*NAMES, "class 1"])
    assert not can_match(load_data("digits", limit=3), ())


@pytest.mark.parametrize("content", ["\n".join(NAMES), "\r\n".join(NAMES) + "\r\n", json.dumps(NAMES, indent=2)])
def test_names_are_read_line_by_line_or_as_a_list(tmp_path, content):
    (tmp_path / "names").write_bytes(content.encode())
    assert read_classes(tmp_path / "names") == NAMES


def test_outputs_are_read_by_name(tmp_path):
    (tmp_path / "map.json").write_text(' {"a": 3, "b": 0}')
    assert read_classes(tmp_path / "map.json") == {"a": 3, "b": 0}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]", b"{}", b"[1]", b'{"a": 1.5}', b'{"a": true}', b"[" * 9999, b"\xff\xfe", b"{"]
)
def test_other_files_are_one_line(tmp_path, content):
    (tmp_path / "map").write_bytes(content)
    with pytest.raises(DataError, match=r"class map .*map (holds no names|cannot be read)") as caught:
        read_classes(tmp_path / "map")
    assert "\n" not in str(caught.value)
