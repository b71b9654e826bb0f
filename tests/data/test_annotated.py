"""Boxes and masks from files: compared with pycocotools, torchvision's readers, and the canvases they were made of."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from torchvision.datasets import VOCDetection, VOCSegmentation

from resnet_probe.data import DataError, load_data

SQUARE = [10, 10, 30, 10, 30, 40, 10, 40]  # corners x, y of a polygon


def one_line(caught):
    return "\n" not in str(caught.value)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def canvases():
    return [load_data("canvases", task=task, limit=4) for task in ("detection", "segmentation")]


@pytest.fixture
def coco(tmp_path, canvases):
    """Three canvases of one size and an empty image of another, in COCO's layout; digit d is category 10 + 2 d."""
    boxes, masks = canvases
    images, objects = [], []
    for number in range(3):
        write(tmp_path / f"val2017/{number}.png", boxes.images[number].permute(1, 2, 0).numpy())
        images.append({"id": 9 - number, "file_name": f"{number}.png", "height": 96, "width": 96})
        for x1, y1, x2, y2, label, area, _ in boxes.labels[number][boxes.labels[number][:, 4] > 0].tolist():
            inside = np.zeros((96, 96), np.uint8, order="F")
            inside[int(y1) : int(y2), int(x1) : int(x2)] = 1
            inside &= (masks.labels[number] == label).numpy()
            packed = rle.encode(inside)
            packed["counts"] = packed["counts"].decode()
            objects.append({
                "id": len(objects), "image_id": 9 - number, "category_id": int(8 + 2 * label), "area": area,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(len(objects) == 0), "segmentation": packed,
            })  # fmt: skip
    write(tmp_path / "val2017/3.jpg", np.zeros((50, 70, 3), np.uint8))
    images.append({"id": 1, "file_name": "3.jpg", "height": 50, "width": 70})
    categories = [{"id": 10 + 2 * digit, "name": str(digit)} for digit in range(10)]
    content = {"images": images, "annotations": objects, "categories": categories}
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations/instances_val2017.json"

    def change(work=lambda content: None):
        work(content)
        file.write_text(json.dumps(content))
        return tmp_path

    return change


def by_pycocotools(folder):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(folder / "annotations/instances_val2017.json")


def test_boxes_of_coco_are_those_that_pycocotools_reads(coco):
    folder = coco()
    data, theirs = load_data(folder, task="detection"), by_pycocotools(folder)
    assert data.split == "val"
    assert [tuple(data.original(number).shape) for number in range(4)] == [(3, 50, 70), *[(3, 96, 96)] * 3]
    assert len(data.classes) == 28
    for number, image in enumerate(sorted(theirs.getImgIds())):
        found = data.labels[number]
        wanted = theirs.loadAnns(theirs.getAnnIds(imgIds=image))
        assert len(found[found[:, 4] > 0]) == len(wanted)
        for one, row in zip(wanted, found.tolist(), strict=False):
            x, y, width, height = one["bbox"]
            assert row == [x, y, x + width, y + height, one["category_id"], one["area"], one["iscrowd"]]
            assert data.classes[int(row[4]) - 1] == theirs.loadCats(one["category_id"])[0]["name"]
        assert bool((found[len(wanted) :] == -1).all())
    assert data.classes[:10] == (*["(none)"] * 9, "0")


def test_masks_of_coco_are_those_of_the_canvases_and_of_pycocotools(coco, canvases):
    data = load_data(coco(), task="segmentation", size=96)
    assert "70 x 50 to 96 x 96" in data.resized
    for number in range(3):
        truth = canvases[1].labels[number].to(torch.int64)
        assert torch.equal(data.labels[3 - number], torch.where(truth > 0, 8 + 2 * truth, 0).byte())
        assert torch.equal(data.images[3 - number], canvases[0].images[number])


def runs(drawn):
    """Run lengths, not packed, of a mask."""
    flat = drawn.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *([0] if flat[0] else []), *ends, len(flat)]).tolist()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_polygons_and_run_lengths_are_drawn_as_pycocotools_does(coco):
    disc = np.hypot(*np.mgrid[-40:56, -70:26]) < 20

    def shapes(content):
        content["annotations"] = [
            {"id": 1, "image_id": 9, "category_id": 10, "segmentation": [SQUARE, [60.5, 60, 80, 61.5, 70, 90]]},
            {"id": 2, "image_id": 9, "category_id": 12, "segmentation": {"size": [96, 96], "counts": runs(disc)}},
        ]  # fmt: skip

    folder = coco(shapes)
    drawn, theirs = load_data(folder, task="segmentation", size=96).labels[3], by_pycocotools(folder)
    masks = [torch.from_numpy(theirs.annToMask(theirs.anns[number])).bool() for number in (1, 2)]
    assert torch.equal(drawn == 10, masks[0])
    assert torch.equal(drawn == 12, masks[1])
    assert np.array_equal(masks[1].numpy(), disc)


def test_a_pixel_of_two_classes_counts_for_nothing(coco):
    def overlap(content):
        content["annotations"] = [
            {"id": 1, "image_id": 9, "category_id": 10, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]},
            {"id": 2, "image_id": 9, "category_id": 12, "segmentation": [[10, 0, 30, 0, 30, 20, 10, 20]]},
        ]  # fmt: skip

    drawn = load_data(coco(overlap), task="segmentation", size=96).labels[3]
    assert [drawn[5, x].item() for x in (5, 15, 25, 35)] == [10, 255, 12, 0]


def test_a_category_of_number_0_moves_all_by_one(coco):
    def from_zero(content):
        for one in content["annotations"]:
            one["category_id"] = (one["category_id"] - 10) // 2
        content["categories"] = [{"id": digit, "name": str(digit)} for digit in range(10)]

    data = load_data(coco(from_zero), task="detection")
    assert data.classes == tuple("0123456789")
    assert data.labels[:, :, 4].max() <= 10


def entry(part, number, **values):
    return lambda content: content[part][number].update(values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (entry("annotations", 1, bbox=[90, 90, 30, 30]), "annotation 1 of .*outside of its image of 96 x 96"),
        (entry("annotations", 1, bbox=[9, 9, 0, 30]), "annotation 1 of .*empty box"),
        (entry("annotations", 1, bbox=[9, 9, float("nan"), 30]), "annotation 1 of .*finite"),
        (entry("annotations", 1, bbox="all"), "annotation 1 of .*four numbers"),
        (entry("annotations", 1, category_id=11), "annotation 1 of .*category 11, which the file does not list"),
        (entry("annotations", 1, image_id=77), "annotation 1 of .*image 77, which the file does not list"),
        (entry("annotations", 1, id=0), "the id 0 occurs twice in annotations"),
        (entry("images", 1, id=9), "the id 9 occurs twice in images"),
        (entry("images", 1, file_name="gone.png"), "image 8 of .*not there: .*gone.png"),
        (entry("images", 1, width=95), "1.png has 96 x 96 pixels, and 95 x 96 in"),
        (lambda content: content["images"][0].pop("file_name"), "entry 0 of images lacks"),
        (lambda content: content.pop("categories"), "no list of categories"),
        (lambda content: content.update(images=[]), "no images"),
        (entry("categories", 1, id=10**9), "category with id 1000000000"),
    ],
)
def test_bad_annotations_are_told_in_one_line(coco, change, told):
    with pytest.raises(DataError, match=told) as caught:
        load_data(coco(change), task="detection")
    assert one_line(caught)


def test_a_bad_segmentation_is_told_in_one_line(coco):
    for bad in (entry("annotations", 1, segmentation=3), entry("annotations", 1, segmentation=[])):
        with pytest.raises(DataError, match=r"annotation 1 of .*segmentation") as caught:
            load_data(coco(bad), task="segmentation")
        assert one_line(caught)


def test_what_is_no_json_is_told_with_its_file(coco):
    folder = coco()
    for text in ('{"images": [', "[]"):
        (folder / "annotations/instances_val2017.json").write_text(text)
        with pytest.raises(DataError, match=r"instances_val2017.json") as caught:
            load_data(folder, task="detection")
        assert one_line(caught)


def test_boxes_that_leave_their_image_by_rounding_are_cut(coco):
    data = load_data(coco(entry("annotations", 0, bbox=[-0.4, 50, 96.9, 46.5])), task="detection")
    assert data.labels[3, 0, :4].tolist() == [0, 50, 96, 96]


def test_annotations_without_splits(coco):
    folder = coco()
    (folder / "annotations/instances_val2017.json").rename(folder / "annotations.json")
    (folder / "val2017").rename(folder / "images")
    assert load_data(folder, task="detection", limit=2).split == "all"
    with pytest.raises(DataError, match="no split 'train'"):
        load_data(folder, task="detection", split="train")


@pytest.fixture
def masked(tmp_path, canvases):
    for split in ("train", "test"):
        for number in range(3):
            write(tmp_path / f"{split}/images/{number}.png", canvases[1].images[number].permute(1, 2, 0).numpy())
            write(tmp_path / f"{split}/masks/{number}.png", canvases[1].labels[number].numpy())
    return tmp_path


def test_folders_of_images_and_masks_give_what_was_saved(masked, canvases):
    data = load_data(masked, task="segmentation")
    assert torch.equal(data.images, canvases[1].images[:3])
    assert torch.equal(data.labels, canvases[1].labels[:3])
    assert data.resized == ""
    largest = int(data.labels.max())
    assert data.classes == ("background", *(f"class {number}" for number in range(1, largest + 1)))
    (masked / "classes.txt").write_text("\n".join(canvases[1].classes))
    assert load_data(masked, task="segmentation").classes == canvases[1].classes
    for split in ("train", "test"):  # the other way to have splits
        for part in ("images", "masks"):
            (masked / f"both/{part}").mkdir(parents=True, exist_ok=True)
            (masked / split / part).rename(masked / f"both/{part}/{split}")
    assert (
        load_data(masked / "both", task="segmentation").fingerprint
        == load_data(masked / "both", task="segmentation", split="train").fingerprint
    )


def test_masks_are_resized_to_the_nearest_pixel(masked, canvases):
    said = []
    data = load_data(masked, task="segmentation", size=48, notify=said.append)
    assert torch.equal(data.labels, canvases[1].labels[:3, 1::2, 1::2])
    assert data.resized == "images of 96 x 96 pixels and their masks are resized to 48 x 48"
    assert said == [f"note: test {data.resized}"]


def test_a_palette_holds_classes_not_colours(masked, canvases):
    palette = Image.fromarray(canvases[1].labels[0].numpy(), mode="P")
    palette.putpalette([3 * value % 256 for value in range(768)])
    palette.save(masked / "test/masks/0.png")
    assert torch.equal(load_data(masked, task="segmentation").labels[0], canvases[1].labels[0])


@pytest.mark.parametrize(
    ("path", "pixels", "told"),
    [
        ("test/masks/1.png", np.zeros((9, 96), np.uint8), "masks/1.png has 96 x 9 pixels, its image 96 x 96"),
        ("test/masks/1.png", np.zeros((96, 96, 3), np.uint8), "masks/1.png has mode RGB"),
        ("test/masks/4.png", np.zeros((96, 96), np.uint8), "masks/4.png has no counterpart"),
        ("test/images/4.png", np.zeros((96, 96), np.uint8), "images/4.png has no counterpart"),
        ("test/masks/1.png", np.full((96, 96), 11, np.uint8), "masks/1.png has class 11, and classes.txt names 11"),
    ],
)
def test_bad_masks_are_told_in_one_line(masked, canvases, path, pixels, told):
    (masked / "classes.txt").write_text("\n".join(canvases[1].classes))
    write(masked / path, pixels)
    with pytest.raises(DataError, match=told) as caught:
        load_data(masked, task="segmentation")
    assert one_line(caught)


@pytest.fixture
def voc(tmp_path, canvases):
    root = tmp_path / "VOCdevkit/VOC2012"
    for number in range(2):
        write(root / f"JPEGImages/{number}.jpg", canvases[1].images[number].permute(1, 2, 0).numpy())
        write(root / f"SegmentationClass/{number}.png", canvases[1].labels[number].numpy())
        boxes = canvases[0].labels[number]
        objects = "".join(
            f"<object><name>{('cat', 'dog')[place % 2]}</name><difficult>{place % 2}</difficult><bndbox>"
            f"<xmin>{x1 + 1:.0f}</xmin><ymin>{y1 + 1:.0f}</ymin><xmax>{x2:.0f}</xmax><ymax>{y2:.0f}</ymax>"
            "</bndbox></object>"
            for place, (x1, y1, x2, y2, *_) in enumerate(boxes[boxes[:, 4] > 0].tolist())
        )
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{number}.xml").write_text(f"<annotation>{objects}</annotation>")
    for kind in ("Main", "Segmentation"):
        (root / f"ImageSets/{kind}").mkdir(parents=True)
        (root / f"ImageSets/{kind}/val.txt").write_text("0\n1\n")
    return tmp_path


def test_voc_is_what_torchvision_reads(voc, canvases):
    masks = load_data(voc / "VOCdevkit", task="segmentation")
    theirs = VOCSegmentation(voc, image_set="val")
    for number, (picture, mask) in enumerate(theirs):
        assert torch.equal(masks.labels[number], torch.from_numpy(np.array(mask)))
        assert torch.equal(masks.images[number].permute(1, 2, 0), torch.from_numpy(np.array(picture)))
    assert (masks.classes[0], len(masks.classes)) == ("background", 21)
    boxes = load_data(voc, task="detection")
    for number, (_, told) in enumerate(VOCDetection(voc, image_set="val")):
        for row, one in zip(boxes.labels[number].tolist(), told["annotation"]["object"], strict=False):
            assert boxes.classes[int(row[4]) - 1] == one["name"]
            assert row[6] == int(one["difficult"])
        original = canvases[0].labels[number]
        known = original[:, 4] > 0
        assert torch.equal(boxes.labels[number][: int(known.sum()), :4], original[known, :4])


def test_bad_voc_is_told_in_one_line(voc):
    with pytest.raises(DataError, match="no list of split 'train': it has val") as caught:
        load_data(voc, task="detection", split="train")
    assert one_line(caught)
    for text, told in (("<annotation><object>", "0.xml is no annotation"), (
        "<annotation><object><name>yak</name><bndbox/></object></annotation>", "object 1 of .*0.xml is of class 'yak'",
    )):  # fmt: skip
        (voc / "VOCdevkit/VOC2012/Annotations/0.xml").write_text(text)
        with pytest.raises(DataError, match=told) as caught:
            load_data(voc, task="detection")
        assert one_line(caught)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no annotations for detection: expected annotations/instances_SPLIT.json"):
        load_data(tmp_path, task="detection")
    with pytest.raises(DataError, match=r"no data '.*gone' for segmentation"):
        load_data(tmp_path / "gone", task="segmentation")
