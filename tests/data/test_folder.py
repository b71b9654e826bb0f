"""Folders of images: torchvision's ImageFolder and evaluation transforms are the second route."""

import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional

from resnet_probe.data import DataError, load_data
from resnet_probe.data.files import ImageFiles
from resnet_probe.data.folder import load_folder

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


def save(path, *, size=(6, 5), mode="RGB", seed=0):
    """Write an image of random pixels, `size` = (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode=mode if mode == "RGBA" else None).save(path)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with class folders cat (3 images, one of them deeper), dog (2) and ant (1)."""
    root = tmp_path / "pets"
    for number, name in enumerate(["cat/b.png", "cat/a.png", "cat/more/c.png", "dog/2.png", "dog/10.png", "ant/x.bmp"]):
        save(root / name, seed=number)
    return root


def load(folder, **options):
    settings = {"split": "test", "limit": None, "normalization": "none", "size": None}
    return load_folder(folder, **(settings | options))


def batches(data, batch_size=4):
    images, labels = zip(*data.batches(batch_size), strict=True)
    return torch.cat(images), torch.cat(labels)


def image_folder(folder, transform):
    found = ImageFolder(folder, transform=transform)
    images, labels = zip(*found, strict=True)
    return torch.stack(images), torch.tensor(labels), tuple(found.classes)


def one_line(caught):
    return "\n" not in str(caught.value)


# What is read


def test_images_labels_and_order_are_image_folders(folder):
    data = load_data(folder)
    images, labels, classes = image_folder(folder, transforms.PILToTensor())
    assert torch.equal(data.images, images)
    assert torch.equal(data.labels, labels)
    assert data.classes == classes == ("ant", "cat", "dog")
    assert (data.name, data.split, data.normalization, data.input_shape) == ("pets", "all", "imagenet", (3, 5, 6))


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_of_differing_sizes_are_cut_as_torchvision_evaluates(tmp_path, in_memory):
    for number, size in enumerate([(301, 200), (90, 333), (256, 256), (224, 225), (31, 30)]):
        save(tmp_path / "a" / f"{number}.png", size=size)
    data = load(tmp_path, memory=10**9 if in_memory else 0)
    assert isinstance(data.images, torch.Tensor) == in_memory
    route = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    images, labels, _ = image_folder(tmp_path, route)
    assert torch.equal(batches(data, 2)[0], images)
    assert torch.equal(batches(data, 2)[1], labels)
    small = load(tmp_path, size=28, memory=10**9 if in_memory else 0)
    route = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor()])
    assert torch.equal(batches(small)[0], image_folder(tmp_path, route)[0])


@pytest.mark.parametrize("size", [(43, 37), (37, 44), (45, 37), (80, 71), (37, 37)])
@pytest.mark.parametrize("side", [27, 28, 32])
def test_the_larger_squares_have_the_central_crops_at_their_centre(tmp_path, size, side):
    save(tmp_path / "a" / "1.png", size=size)
    plain, larger = (load_data(tmp_path, size=side, whole=whole) for whole in (False, True))
    assert larger.input_shape == (3, round(side * 8 / 7), round(side * 8 / 7))
    crops = functional.ten_crop(larger.images, [side])
    assert torch.equal(crops[4], plain.images)
    route = transforms.Compose([transforms.Resize(round(side * 8 / 7)), transforms.CenterCrop(side)])
    assert torch.equal(plain.images, image_folder(tmp_path, transforms.Compose([route, transforms.PILToTensor()]))[0])


def test_a_size_that_the_images_have_leaves_them_alone(tmp_path):
    for number in range(3):
        save(tmp_path / "a" / f"{number}.png", size=(7, 7))
    assert torch.equal(load(tmp_path, size=7).images, load(tmp_path).images)
    assert load(tmp_path, size=5).input_shape == (3, 5, 5)
    assert load(tmp_path, size=7).resized == load(tmp_path).resized == ""


def test_what_is_done_to_images_of_other_sizes_is_said(tmp_path):
    save(tmp_path / "a" / "1.png", size=(45, 40))
    told = []
    data = load_data(tmp_path, size=32, notify=told.append)
    assert data.resized == "images of 45 x 40 pixels are resized to a shorter side of 37 and cut to the central 32 x 32"
    assert told == [f"note: all {data.resized}"]
    save(tmp_path / "a" / "2.png", size=(8, 9))
    usual = load_data(tmp_path, notify=told.append)
    assert told[1:] == [f"note: all {usual.resized}, as no size is given"]
    assert load_data(tmp_path, size=32, whole=True).resized == (
        "images of 8 x 9 to 45 x 40 pixels are resized to a shorter side of 37 and cut to the central 37 x 37"
    )


def test_a_class_that_a_split_lacks_is_said(tmp_path):
    for name in ("train/cat", "train/dog", "test/cat", "test/dgo"):
        save(tmp_path / name / "1.png")
    told = []
    data = load_data(tmp_path, notify=told.append)
    assert data.classes == ("cat", "dgo", "dog")
    assert told == [f"note: split test of {tmp_path} has no class folder dog, which another split has"]


def test_a_name_that_hides_a_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    load_data("digits", limit=10, notify=told.append)
    Path("digits").mkdir()
    load_data("digits", limit=10, notify=told.append)
    assert told == ["note: digits is the data set of that name; give ./digits for the folder"]


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_become_rgb(tmp_path, mode):
    save(tmp_path / "a" / "1.png", mode=mode)
    data = load(tmp_path)
    assert torch.equal(data.images, image_folder(tmp_path, transforms.PILToTensor())[0])
    assert data.input_shape == (3, 5, 6)


def test_a_transparent_palette_is_read_without_a_warning(tmp_path):
    (tmp_path / "a").mkdir()
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    picture.save(tmp_path / "a" / "1.png", transparency=bytes(range(16)))
    assert torch.equal(load(tmp_path).images[0, 0].flatten(), torch.arange(16, dtype=torch.uint8))


def test_images_with_more_than_8_bits_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "a" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        load(tmp_path)


def test_hidden_files_and_other_files_are_left_out(folder):
    before = load_data(folder).fingerprint
    save(folder / "cat" / "._b.png")
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "README").write_text("not a class")
    (folder / ".cache").mkdir()
    assert load_data(folder).fingerprint == before


def test_a_limit_is_taken_before_files_are_opened(folder):
    (folder / "dog" / "2.png").write_bytes(b"broken, but the second of its class")
    assert load_data(folder, limit=4).labels.tolist() == [0, 1, 1, 2]
    with pytest.raises(DataError, match=r"2\.png"):
        load_data(folder, limit=5)


# Splits


@pytest.fixture
def split_folder(tmp_path):
    for number, name in enumerate(["train/ant", "train/bee", "train/cow", "val/ant", "val/cow", "val/cow"]):
        save(tmp_path / name / f"{number}.png", seed=number)
    return tmp_path


def test_split_folders_are_read_by_name(split_folder):
    train, val = load_data(split_folder, split="train"), load_data(split_folder, split="val")
    assert (len(train), len(val), val.split) == (3, 3, "val")
    assert torch.equal(train.images, image_folder(split_folder / "train", transforms.PILToTensor())[0])


def test_a_class_that_a_split_lacks_does_not_shift_the_labels(split_folder):
    val = load_data(split_folder, split="val")
    assert val.classes == load_data(split_folder, split="train").classes == ("ant", "bee", "cow")
    assert val.labels.tolist() == [0, 2, 2]


def test_an_unknown_split_lists_those_that_exist(split_folder, folder):
    with pytest.raises(DataError, match="has no split 'test': it has train, val"):
        load_data(split_folder)
    with pytest.raises(DataError, match="its class folders lie directly in it"):
        load_data(folder, split="train")
    assert load_data(folder, split="all").fingerprint == load_data(folder).fingerprint


# Files that stay on disk


def test_files_on_disk_are_batched_like_pixels_in_memory(folder):
    held, kept = load(folder), load(folder, memory=0)
    assert isinstance(kept.images, ImageFiles)
    assert kept.input_shape == held.input_shape
    for batch_size in (1, 4, 6, 100):
        assert all(map(torch.equal, batches(held, batch_size), batches(kept, batch_size)))
    for part in (slice(1, None, 2), [4, 0], slice(0, 0)):
        assert torch.equal(held.subset(part).pixels(), kept.subset(part).pixels())
    assert torch.equal(held.shard(1, 4).pixels(), kept.shard(1, 4).pixels())


def test_fingerprints_do_not_depend_on_paths(folder, tmp_path):
    copy = tmp_path / "elsewhere" / "animals"
    before = load(folder, memory=0).fingerprint
    shutil.copytree(folder, copy)
    assert load(copy).fingerprint == load(folder).fingerprint
    assert load(copy, memory=0).fingerprint == load(folder, memory=0).fingerprint
    (copy / "dog" / "2.png").rename(copy / "cat" / "z.png")
    assert load(copy).fingerprint != load(folder).fingerprint
    assert load(copy, memory=0).fingerprint != load(folder, memory=0).fingerprint
    save(folder / "ant" / "x.bmp", seed=99)  # a file of the same length
    assert load(folder, memory=0).fingerprint != before
    assert load(folder, memory=0).subset(slice(0, 2)).fingerprint != load(folder, memory=0).fingerprint


def test_a_file_that_breaks_later_is_named(folder):
    data = load(folder, memory=0)
    (folder / "dog" / "10.png").unlink()
    with pytest.raises(DataError, match=r"cannot read image .*10\.png") as caught:
        batches(data, 2)
    assert one_line(caught)
    with pytest.raises(DataError, match=r"10\.png"):
        _ = data.fingerprint


# Bad input


def broken_header(path):
    path.write_text("this is text")


def broken_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def broken_middle(path):
    content = bytearray(path.read_bytes())
    content[45:60] = bytes(15)
    path.write_bytes(content)


def broken_length(path):
    """Pillow raises a ValueError for this one."""
    content = bytearray(path.read_bytes())
    content[11] = 0
    path.write_bytes(content)


def empty_file(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [broken_header, broken_half, broken_middle, broken_length, empty_file])
@pytest.mark.parametrize("size", [None, 32])
def test_a_broken_image_is_named(folder, damage, size):
    victim = folder / "cat" / "b.png"
    damage(victim)
    with pytest.raises(DataError, match=r"cannot read image .*pets/cat/b\.png: .+; replace or remove") as caught:
        load_data(folder, size=size)
    assert one_line(caught)
    assert str(caught.value).count("b.png") == 1


def test_missing_and_empty_folders_are_told_apart(tmp_path, folder):
    cases = {
        tmp_path / "pest": "no data '.*pest'.*did you mean '.*pets'",
        folder / "cat" / "a.png": "is a file: give the folder",
        folder / "dog": "has no class folders",
    }
    (tmp_path / "empty").mkdir()
    cases[tmp_path / "empty"] = "empty is empty"
    (tmp_path / "classes" / "a").mkdir(parents=True)
    cases[tmp_path / "classes"] = "hold no images"
    save(tmp_path / "splits" / "train" / "1.png")
    cases[tmp_path / "splits"] = r"split folders of .*splits \(train\) have no class folders"
    for place, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            load_data(place)
        assert one_line(caught)


# Real images


@pytest.mark.real
@pytest.mark.skipif(not CIFAR.is_dir(), reason="needs ../shared/data/cifar10")
def test_a_thousand_real_images_are_read_as_image_folder_reads_them_and_fast():
    started = time.process_time()
    data = load_data(CIFAR)
    seconds = time.process_time() - started
    route = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    images, labels, classes = image_folder(CIFAR / "test", route)
    assert torch.equal(batches(data, 250)[0], images)
    assert torch.equal(data.labels, labels)
    assert data.classes == classes
    # The images of the original test batch, in class folders: the same pixels as there, whatever the files are.
    assert (
        data.fingerprint
        == hashlib.sha256(
            b"((1000, 3, 32, 32), 10)"
            + np.stack([np.asarray(Image.open(path)) for path, _ in ImageFolder(CIFAR / "test").samples])
            .transpose(0, 3, 1, 2)
            .tobytes()
            + labels.numpy().tobytes()
        ).hexdigest()
    )
    assert len(load_data(CIFAR, split="train")) == 4000
    assert load_data(CIFAR, limit=100).labels.bincount().tolist() == [10] * 10
    assert seconds < 1  # of this process, 0.1 to 0.2 as measured


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("shape", "problem"),
    [((1, 1_000_000), "1 x 1000000 pixels"), ((14_000, 13_000), "182000000 pixels")],
)
def test_pictures_that_would_fill_the_memory_are_refused(tmp_path, shape, problem):
    """A line of pixels would be resized to 256 x 256,000,000 before the middle is cut out."""
    (tmp_path / "a").mkdir()
    Image.new("1", (8, 8)).save(tmp_path / "a" / "0.png")
    Image.new("1", shape).save(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=problem) as caught:
        load_data(tmp_path)
    assert "1.png" in str(caught.value)


def test_other_kinds_of_files_by_the_name_of_an_image_are_refused(tmp_path):
    """One of Pillow's many other formats runs a program."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "1.png", format="PCX")
    with pytest.raises(DataError, match=r"1\.png"):
        load_data(tmp_path)
