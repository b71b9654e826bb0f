"""Data of one's own: against the pairs that it was made of, and torchvision's own reading of the same pictures."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision.transforms.functional import pil_to_tensor

from resnet_probe.data import DataError, from_dataset, is_own, load_data

GENERATOR = np.random.default_rng(0)
INPUTS = torch.from_numpy(GENERATOR.normal(size=(20, 2, 7)))
LABELS = torch.arange(20) // 5
PAIRS = [(x, int(y)) for x, y in zip(INPUTS, LABELS, strict=True)]


class Mapped(Dataset):
    """Without an end: an index past the last one is no IndexError."""

    classes = ("a", "b", "c", "d")

    def __len__(self):
        return 20

    def __getitem__(self, number):
        return PAIRS[number % 20]


class Stream(IterableDataset):
    def __len__(self):
        return 20

    def __iter__(self):
        return iter(PAIRS)


@pytest.mark.parametrize(
    "make", [Mapped, Stream, lambda: PAIRS, lambda: iter(PAIRS), lambda: TensorDataset(INPUTS, LABELS)]
)
def test_pairs_are_read_in_their_order(make):
    data = from_dataset(make(), name="mine")
    assert torch.equal(data.images, INPUTS)
    assert torch.equal(data.labels, LABELS)
    assert (data.name, data.normalization) == ("mine", "none")
    assert data.classes == (Mapped.classes if make is Mapped else ("0", "1", "2", "3"))


def test_a_limit_is_spread_over_what_has_a_length_and_else_the_beginning():
    assert from_dataset(Mapped(), limit=4).labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(from_dataset(itertools.cycle(PAIRS), limit=3).images, INPUTS[:3])
    assert len(from_dataset(Mapped(), limit=30)) == 20


def test_memory_is_bounded_and_the_bound_says_what_fits():
    size = INPUTS[0].nbytes
    assert len(from_dataset(Mapped(), memory=20 * size)) == 20
    with pytest.raises(DataError, match=r"Mapped is larger than .* GiB; give a limit of 19 at most"):
        from_dataset(Mapped(), memory=20 * size - 1)
    with pytest.raises(DataError, match="a limit of 7 at most"):
        from_dataset(itertools.cycle(PAIRS), memory=7 * size)


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [("L", torch.uint8), ("RGB", torch.uint8), ("I;16", torch.uint16), ("I", torch.int32), ("F", torch.float32)],
)
def test_pictures_are_what_torchvision_reads(mode, dtype):
    values = GENERATOR.integers(0, 256, (5, 4, 3) if mode == "RGB" else (5, 4))
    values = values * 200 if mode[0] == "I" else values
    kind = {"L": "u1", "RGB": "u1", "I;16": "<u2", "I": "<i4", "F": "<f4"}[mode]
    picture = Image.fromarray(values.astype(kind))
    assert picture.mode == mode
    data = from_dataset([(picture, 0), (picture, 1)])
    assert data.images.dtype == dtype
    assert torch.equal(data.images[1].double(), pil_to_tensor(picture).double())
    assert data.images.numpy().transpose(0, 2, 3, 1)[0].squeeze().tolist() == values.tolist()


def test_other_pictures_become_colour():
    for mode in ("P", "RGBA", "LA", "1"):
        assert from_dataset([(Image.new(mode, (4, 5)), 0)]).input_shape == (3, 5, 4)


def test_targets_may_be_numbers_of_any_shape():
    assert from_dataset([(x, float(y)) for x, y in PAIRS]).labels.dtype == torch.float32
    assert from_dataset([(x, torch.tensor([y])) for x, y in PAIRS]).labels.tolist() == LABELS.tolist()
    assert from_dataset([(x, np.int32(y)) for x, y in PAIRS]).labels.dtype == torch.int64
    tokens = from_dataset([([1, 2, 3], [2, 3, 4])] * 2)
    assert (tokens.images.dtype, tokens.labels.tolist(), tokens.classes) == (torch.int64, [[2, 3, 4]] * 2, ())


@pytest.mark.parametrize(
    ("dataset", "options", "words"),
    [
        (INPUTS, {}, "item 0 of Tensor is a Tensor; give pairs"),
        ([(1, 2, 3)], {}, "item 0 of list is a tuple; give pairs"),
        ({"a": 1}, {}, "dict is a dict; give a Dataset or an iterable"),
        (7, {}, "int is a int; give a Dataset or an iterable"),
        ([], {"name": "mine"}, "mine is empty"),
        (DataLoader(Mapped()), {}, "DataLoader makes batches; give its dataset"),
        ([(INPUTS[0], 0), (INPUTS[0, :1], 0)], {}, "input 1 of list is float64 (1, 7), input 0 float64 (2, 7)"),
        ([(INPUTS[0], 0), (INPUTS[0], 0.5)], {}, "target 1 of list is float32 (), target 0 int64 ()"),
        ([(INPUTS[0], {"boxes": 1})], {}, "target 0 of list is a dict; give a number"),
        ([("text", 0)], {}, "input 0 of list is a str; give a number"),
        (PAIRS, {"classes": ("a", "b")}, "labels of list are 0 to 3 and it has 2 classes"),
        ([(INPUTS[0], -1)], {}, "labels of list are -1 to -1"),
        ([(np.zeros((2, 2), np.uint8), 0)], {}, "images of list are uint8 of shape (1, 2, 2); give uint8"),
        (PAIRS, {"normalization": "imagenet"}, "for 3 channels"),
    ],
)
def test_what_cannot_be_read_is_one_line(dataset, options, words):
    with pytest.raises(DataError) as caught:
        from_dataset(dataset, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# By name


CODE = """
import torch
from torch.utils.data import TensorDataset
from resnet_probe.data import Data

inputs, labels = torch.arange(20.0).reshape(10, 2), torch.arange(10) % 2

def tensors():
    return inputs, labels

def dataset(split):
    return TensorDataset(inputs + (split == "train"), labels)

def stream(*, split="test", scale=1):
    return ((x + (split == "train"), int(y)) for x, y in zip(inputs, labels))

def whole(limit=None):
    return Data("named", "val", inputs, labels, ("a", "b"), "0.5;2")

class Squares:
    def __init__(self, split): self.split = split
    def __len__(self): return 3
    def __getitem__(self, number): return torch.tensor([number ** 2.0]), 0

def fails(): raise OSError("disk\\non fire")
def fails_later(): return ((1 / 0, 0) for _ in range(2))
def nothing(): return None
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    return f"{tmp_path}/mine.py"


@pytest.mark.parametrize("name", ["tensors", "dataset", "stream", "whole"])
def test_a_factory_may_return_any_of_them(code, name):
    data = load_data(f"{code}:{name}")
    inputs = torch.arange(20.0).reshape(10, 2)
    assert torch.equal(data.images, inputs)
    assert data.labels.tolist() == [0, 1] * 5
    splits = {"dataset": "test", "stream": "test", "tensors": "all", "whole": "val"}
    assert (data.name, data.split) == ("named" if name == "whole" else f"mine.py:{name}", splits[name])
    assert data.normalization == ("0.5;2" if name == "whole" else "none")
    few = load_data(f"{code}:{name}", limit=4, normalize="-3;7")
    assert len(few) == 4
    assert few.mean == (-3,)
    if name in ("dataset", "stream"):
        assert torch.equal(load_data(f"{code}:{name}", split="train").images, inputs + 1)
    else:
        with pytest.raises(DataError, match=f"{name} has no split 'train', as it takes no argument"):
            load_data(f"{code}:{name}", split="train")


def test_a_class_is_a_factory_too(code):
    assert load_data(f"{code}:Squares").images.flatten().tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (":fails", ValueError, "mine.py:fails failed with OSError: disk on fire"),
        (":fails_later", DataError, "mine.py:fails_later failed with ZeroDivisionError: division by zero"),
        (":nothing", DataError, "mine.py:nothing is a NoneType; give a Dataset"),
        (":tensor", LookupError, "mine.py has no factory 'tensor'; did you mean tensors"),
        ("", LookupError, "mine.py given, which names no data in the file; give"),
        ("/no.py:a", LookupError, "no file"),
    ],
)
def test_a_factory_that_fails_is_one_line(code, name, error, words):
    with pytest.raises(error) as caught:
        load_data(code + name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_code_and_what_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(map(is_own, ("a.py:b", "dir/a.py:b", "a.py", "package.module:factory", "C:/x/a.py:b")))
    assert not any(map(is_own, ("digits", "./digits", "photos/cats", "C:\\photos", "a b:c", "1:2", "")))
    Path("odd:name").mkdir()
    assert not is_own("odd:name")
