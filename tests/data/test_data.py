"""Data: laws of order, parts and normalisation; torchvision's transforms and readers are the second route."""

import hashlib
import io
import pickle
import urllib.error
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torchvision import datasets, transforms

from resnet_probe.data import NORMALIZATIONS, Data, DataError, load_data, normalizations_for, parse_normalization
from resnet_probe.data.cifar import CIFAR
from resnet_probe.data.dataset import spread
from resnet_probe.data.named import _scikit_learns_digits

COLOUR = [name for name in NORMALIZATIONS if name != "digits"]


@pytest.fixture(scope="module")
def fake():
    return load_data("fake")


def whole(data, batch_size=64, **options):
    images, labels = zip(*data.batches(batch_size, **options), strict=True)
    return torch.cat(images), torch.cat(labels)


def one_line(caught):
    return "\n" not in str(caught.value)


# Normalisation


@pytest.mark.parametrize("name", [*COLOUR, "0.5,0.4,0.3;0.25,0.5,1", "0.5;0.25"])
def test_normalisation_equals_torchvision_bit_for_bit(fake, name):
    data = fake.subset(slice(0, 20)).with_normalization(name)
    steps = [transforms.ToTensor()]
    if data.mean is not None:
        steps.append(transforms.Normalize(data.mean * (3 // len(data.mean)), data.std * (3 // len(data.std))))
    route = transforms.Compose(steps)
    expected = torch.stack([route(image.permute(1, 2, 0).numpy()) for image in data.images])
    assert torch.equal(whole(data, 7)[0], expected)


def test_normalisation_can_be_written_as_numbers():
    mean, std = NORMALIZATIONS["imagenet"]
    assert parse_normalization(",".join(map(str, mean)) + " ; " + ",".join(map(str, std))) == (mean, std)
    assert parse_normalization(" none ") is None


@pytest.mark.parametrize(
    "text",
    ["0.5", "0.5;", ";0.5", "a;b", "0.5;0", "0.5;-1", "0.5;nan", "0.5;inf", "125;63", "0.5,0.5;0.5", "1;1;1", ""],
)
def test_numbers_that_are_no_normalisation_are_refused(text):
    with pytest.raises(DataError, match="mean;std") as caught:
        parse_normalization(text)
    assert one_line(caught)


def test_a_misspelt_normalisation_gets_a_suggestion():
    with pytest.raises(DataError, match="did you mean 'imagenet'"):
        load_data("digits", normalize="imagnet")


def test_a_normalisation_for_other_channels_is_refused(fake):
    with pytest.raises(DataError, match="3 channels, but the images of digits have 1"):
        load_data("digits", normalize="imagenet")
    assert load_data("digits", normalize="half").mean == (0.5,)
    with pytest.raises(DataError, match="2 channels, but"):
        fake.with_normalization("0.5,0.5;0.5,0.5")


def test_known_normalisations_fit_the_channels(fake):
    for name in normalizations_for(3):
        fake.with_normalization(name)
    assert set(normalizations_for(3)) == set(NORMALIZATIONS)
    assert set(normalizations_for(1)) == {"none", "half", "digits"}


# Parts and order


def test_batches_are_in_order_and_normalised_floats(fake):
    images, labels = whole(fake, 300)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.equal(images, fake.images / 255)
    assert torch.equal(labels, fake.labels)
    assert [len(y) for _, y in fake.batches(300)] == [300, 300, 300, 100]
    with pytest.raises(ValueError, match="batch size 0"):
        next(fake.batches(0))


def test_batches_become_floats_on_the_device_that_is_asked_for(fake):
    data = fake.with_normalization("imagenet")
    assert {(x.device.type, y.device.type, x.dtype) for x, y in data.batches(512, device="meta")} == {
        ("meta", "meta", torch.float32)
    }


@settings(max_examples=30, deadline=None)
@given(size=st.integers(0, 40), world=st.integers(1, 12))
def test_shards_hold_every_image_exactly_once(size, world):
    data = load_data("fake").subset(slice(0, size))
    shards = [data.shard(rank, world) for rank in range(world)]
    held = sorted(bytes(image.numpy().tobytes()) for shard in shards for image in shard.images)
    assert held == sorted(bytes(image.numpy().tobytes()) for image in data.images)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(fake, rank, world):
    with pytest.raises(ValueError, match="no shard"):
        fake.shard(rank, world)


def test_a_subset_has_the_order_of_its_indices(fake):
    part = fake.subset([5, 3, 900])
    assert torch.equal(part.images, torch.stack([fake.images[i] for i in (5, 3, 900)]))
    assert torch.equal(part.labels, fake.labels[[5, 3, 900]])
    assert fake.subset(slice(10, 20)).images.data_ptr() == fake.images[10].data_ptr()  # shared, not copied


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=40), limit=st.integers(1, 50))
def test_a_limit_takes_turns_over_the_classes(labels, limit):
    waiting = {label: [i for i, other in enumerate(labels) if other == label] for label in range(5)}
    taken = []
    while any(waiting.values()):
        taken += [queue.pop(0) for queue in waiting.values() if queue]
    assert spread(torch.tensor(labels), limit).tolist() == sorted(taken[:limit])


def test_a_limit_is_balanced_and_nested():
    few, more = load_data("digits", limit=50), load_data("digits", limit=100)
    assert few.labels.bincount().tolist() == [5] * 10
    assert {image.numpy().tobytes() for image in few.images} <= {image.numpy().tobytes() for image in more.images}
    assert len(load_data("digits", limit=10**9)) == len(load_data("digits"))


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(DataError, match=f"limit {limit}: it must be at least 1") as caught:
        load_data("digits", limit=limit)
    assert one_line(caught)


# Fingerprint


def test_the_fingerprint_is_of_what_is_measured(fake):
    small = fake.subset(slice(0, 10))
    pixels = small.images.numpy().tobytes()
    header = b"((10, 3, 32, 32), 10)"
    expected = hashlib.sha256(header + pixels + small.labels.numpy().astype("<i8").tobytes()).hexdigest()
    assert small.fingerprint == expected
    assert small.with_normalization("imagenet").fingerprint == expected
    assert Data("x", "y", small.images, small.labels, small.classes, "half").fingerprint == expected
    assert small.subset(slice(0, 9)).fingerprint != expected
    assert small.subset([1, 0, *range(2, 10)]).fingerprint != expected
    moved = Data("x", "y", small.images, small.labels.flip(0), small.classes, "half")
    assert moved.fingerprint != expected
    assert len(small.subset(slice(0, 0)).fingerprint) == 64


def test_another_normalisation_shares_the_pixels(fake):
    other = fake.with_normalization("imagenet")
    assert other.images.data_ptr() == fake.images.data_ptr()
    assert fake.normalization == "none"


# Data sets by name


def test_digits_are_scikit_learns_split_by_every_fifth_of_a_class():
    train, test = load_data("digits", split="train"), load_data("digits")
    everything = load_digits()
    pixels = torch.cat([train.images, test.images]).double().flatten(1) * 16 / 255
    values = torch.from_numpy(everything.data)
    assert sorted(map(tuple, pixels.round().tolist())) == sorted(map(tuple, values.tolist()))
    assert (len(train), len(test), test.input_shape) == (1442, 355, (1, 8, 8))
    for digit in range(10):
        of_class = everything.images[everything.target == digit]
        expected = torch.from_numpy(of_class[4::5])
        found = test.images[test.labels == digit].squeeze(1).double() * 16 / 255
        assert torch.equal(found.round(), expected)


def test_digits_are_read_from_scikit_learns_file_as_it_reads_them():
    values, labels = _scikit_learns_digits()
    everything = load_digits()
    assert np.array_equal(values, everything.data)
    assert np.array_equal(labels, everything.target)


def test_digits_never_change():
    """The figures of the demo and the measured settings stand on these very bytes."""
    assert load_data("digits").fingerprint == "722ae2f480e2188c4be7d5be2596969c79d94c3d11d673ae97b139be6170a7ca"


def test_digits_are_normalised_by_their_training_images():
    inputs, _ = whole(load_data("digits", split="train"))
    assert inputs.mean().item() == pytest.approx(0, abs=5e-4)
    assert inputs.std().item() == pytest.approx(1, abs=5e-4)


def test_fake_images_are_the_same_for_a_seed(fake):
    assert fake.input_shape == (3, 32, 32)
    assert fake.labels.bincount().tolist() == [100] * 10
    assert torch.equal(fake.images, load_data("fake").images)
    assert fake.images.float().mean().item() == pytest.approx(127.5, abs=0.5)
    assert not torch.equal(fake.images, load_data("fake", seed=1).images)
    assert not torch.equal(fake.images, load_data("fake", split="train").images)
    assert load_data("fake", size=9).input_shape == (3, 9, 9)
    # The first word of PCG64's stream, so that other machines and later versions agree.
    word = int(np.random.PCG64([0, 1]).random_raw())
    assert fake.images.flatten()[:8].tolist() == list(word.to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("cifr10", {}, "no data 'cifr10'.*did you mean 'cifar10'"),
        ("", {}, "no data ''"),
        ("digits", {"split": "val"}, "digits has no split 'val': it has train, test"),
        ("fake", {"split": "all"}, "fake has no split 'all'"),
        ("cifar10", {"split": "val"}, "cifar10 has no split 'val'"),
        ("fake", {"size": 0}, "size 0"),
    ],
)
def test_wrong_use_is_one_clear_line(spec, options, message):
    with pytest.raises(DataError, match=message) as caught:
        load_data(spec, **options)
    assert one_line(caught)


# CIFAR: files of the original layout, made small, with MD5 sums of their own.


def _tell_torchvision(monkeypatch, kind, files):
    """Let torchvision's reader expect these files."""
    monkeypatch.setattr(kind, "train_list", [list(file) for file in files.splits["train"]])
    monkeypatch.setattr(kind, "test_list", [list(file) for file in files.splits["test"]])
    monkeypatch.setattr(kind, "meta", {"filename": files.meta[0], "key": files.names, "md5": files.meta[1]})


@pytest.fixture
def cifar_files(tmp_path, monkeypatch):
    """Return a root with `cifar-10-batches-py` of 3 training and 2 test images."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3072), dtype=np.uint8)
    contents = {
        "data_batch_1": {"data": pixels[:3], "labels": [3, 1, 4]},
        "test_batch": {"data": pixels[3:], "labels": [1, 5]},
        "batches.meta": {"label_names": [f"name{i}" for i in range(10)]},
    }
    sums = {}
    for name, content in contents.items():
        blob = pickle.dumps(content)
        (folder / name).write_bytes(blob)
        sums[name] = hashlib.md5(blob).hexdigest()
    splits = {"train": (("data_batch_1", sums["data_batch_1"]),), "test": (("test_batch", sums["test_batch"]),)}
    files = replace(CIFAR["cifar10"], splits=splits, meta=("batches.meta", sums["batches.meta"]))
    monkeypatch.setitem(CIFAR, "cifar10", files)
    _tell_torchvision(monkeypatch, datasets.CIFAR10, files)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("nothing is to be fetched"))
    return tmp_path / "root", pixels


@pytest.mark.parametrize("where", ["data root", "the root as folder", "the inner folder"])
def test_cifar_files_that_are_there_are_read(cifar_files, where):
    root, pixels = cifar_files
    inner = root / "cifar-10-batches-py"
    spec, data_root = {
        "data root": ("cifar10", root),
        "the root as folder": (root, None),
        "the inner folder": (inner, None),
    }[where]
    test = load_data(spec, root=data_root)
    assert (test.name, test.split, test.normalization) == ("cifar10", "test", "cifar10")
    assert test.classes[5] == "name5"
    assert test.labels.tolist() == [1, 5]
    assert np.array_equal(test.images.numpy(), pixels[3:].reshape(2, 3, 32, 32))
    train = load_data(spec, root=data_root, split="train", normalize="imagenet", limit=2)
    assert train.labels.tolist() == [3, 1]
    assert train.normalization == "imagenet"


@pytest.mark.parametrize(("name", "kind"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_the_published_cifar_files_are_those_that_torchvision_knows(name, kind):
    files = CIFAR[name]
    assert files.folder == kind.base_folder
    assert [list(file) for file in files.splits["train"]] == kind.train_list
    assert [list(file) for file in files.splits["test"]] == kind.test_list
    assert files.meta == (kind.meta["filename"], kind.meta["md5"])
    assert files.names == kind.meta["key"]


@pytest.mark.parametrize(("name", "kind"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar_is_read_as_torchvision_reads_it(tmp_path, monkeypatch, name, kind, split):
    generator, files = np.random.default_rng(1), CIFAR[name]
    folder = tmp_path / files.folder
    folder.mkdir()

    def written(file, content):
        blob = pickle.dumps(content)
        (folder / file).write_bytes(blob)
        return file, hashlib.md5(blob).hexdigest()

    def batch(file):
        pixels, labels = generator.integers(0, 256, (4, 3072), dtype=np.uint8), generator.integers(0, 10, 4)
        return written(file, {"data": pixels, files.labels: labels.tolist(), "coarse_labels": [0] * 4})

    splits = {part: tuple(batch(file) for file, _ in batches) for part, batches in files.splits.items()}
    meta = written(files.meta[0], {files.names: [f"name{i}" for i in range(10)], "coarse_label_names": ["other"]})
    files = replace(files, splits=splits, meta=meta)
    monkeypatch.setitem(CIFAR, name, files)
    _tell_torchvision(monkeypatch, kind, files)
    found, theirs = load_data(tmp_path, split=split), kind(tmp_path, train=split == "train")
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert (found.labels.tolist(), list(found.classes)) == (theirs.targets, theirs.classes)
    assert found.labels.dtype == torch.int64


@pytest.mark.parametrize("damaged", ["test_batch", "batches.meta"])
def test_nothing_of_a_damaged_cifar_file_is_run(cifar_files, damaged, monkeypatch):
    root, _ = cifar_files
    monkeypatch.setattr(pickle, "loads", lambda *_, **__: pytest.fail("unpickled before its sum was checked"))
    file = root / "cifar-10-batches-py" / damaged
    file.write_bytes(file.read_bytes() + b".")
    with pytest.raises(DataError, match="incomplete or damaged"):
        load_data(root)


def test_damaged_cifar_files_are_named_and_not_fetched_for_a_folder(cifar_files):
    root, _ = cifar_files
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(b"cut off")
    with pytest.raises(DataError, match="cifar-10-batches-py are incomplete or damaged") as caught:
        load_data(root)
    assert one_line(caught)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_without_a_network_one_line_says_what_to_do(tmp_path, monkeypatch, capfd, name):
    def no_network(*_, **__):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    said = []
    with pytest.raises(DataError, match=f"{name} is not in .*Name or service not known.*name a data root") as caught:
        load_data(name, root=tmp_path / "new", notify=said.append)
    assert one_line(caught)
    assert not said
    assert not (tmp_path / "new").exists()
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_is_fetched_once_it_was_announced(cifar_files, tmp_path, monkeypatch, capfd):
    root, _ = cifar_files
    new, said = tmp_path / "new", []

    def download(dataset):
        assert len(said) == 1
        print("torchvision's talk")
        (root / "cifar-10-batches-py").rename(new / "cifar-10-batches-py")

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    assert len(load_data("cifar10", root=new, notify=said.append)) == 2
    assert str(new) in said[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (torch.zeros(2, 4, 4, dtype=torch.uint8), [0, 1], "images of mine are uint8 of shape (2, 4, 4); give"),
        ([1, 2], [0, 1], "images of mine are a list; give"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0], "labels of mine are int64 of shape (1,) for 2 images; give"),
    ],
)  # fmt: skip
def test_images_and_labels_of_another_form_are_refused(images, labels, problem):
    with pytest.raises(DataError) as caught:
        Data("mine", "test", images, torch.tensor(labels), ("a", "b"), "none")
    assert one_line(caught)
    assert problem in str(caught.value)
    with pytest.raises(DataError, match="labels of mine are a list for 2 images"):
        Data("mine", "test", torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0, 1], ("a", "b"), "none")


def test_data_is_shown_in_one_line():
    data = Data("mine", "val", torch.zeros(2, 3, 4, 5, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"), "none")
    assert repr(data) == "Data('mine', 'val': 2 images 3x4x5, 2 classes, normalization='none')"
