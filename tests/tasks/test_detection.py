import contextlib
import io

import numpy as np
import pytest
import torch

from resnet_probe.tasks.detection import Detection, average_precision, matched

CLASSES = ("cat", "dog", "cow")
rng = np.random.default_rng


def some_image(generator, *, crowds=True, objects=5, boxes=12, ties=True):
    """True boxes, and found ones near them; coordinates, and with ties scores, on a grid."""
    corner = generator.integers(0, 60, (objects, 2))
    true = {
        "boxes": np.hstack([corner, corner + generator.integers(8, 40, (objects, 2))]).astype(np.float32),
        "labels": generator.integers(1, 4, objects),
        "iscrowd": (generator.random(objects) < 0.2 * crowds).astype(np.int64),
    }
    near = generator.integers(0, objects, boxes)
    found = {
        "boxes": true["boxes"][near] + generator.integers(-4, 5, (boxes, 4)).astype(np.float32),
        "labels": np.where(generator.random(boxes) < 0.8, true["labels"][near], generator.integers(1, 4, boxes)),
        "scores": (generator.integers(1, 20, boxes) / 20 if ties else generator.random(boxes)).astype(np.float32),
    }
    return found, true


def cocos(images):
    """Average precision by COCO's own code, `(classes, thresholds)`; -1 for a class without objects."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def wide(box):
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    annotations, results = [], []
    for number, (found, true) in enumerate(images, start=1):
        for box, label, crowd in zip(true["boxes"], true["labels"], true["iscrowd"], strict=True):
            one = {"id": len(annotations) + 1, "image_id": number, "category_id": int(label), "bbox": wide(box)}
            annotations.append({**one, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": int(crowd)})
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            results.append({"image_id": number, "category_id": int(label), "bbox": wide(box), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        true = coco.COCO()
        true.dataset = {
            "images": [{"id": number} for number in range(1, len(images) + 1)],
            "annotations": annotations,
            "categories": [{"id": number} for number in (1, 2, 3)],
        }
        true.createIndex()
        judge = evaluation.COCOeval(true, true.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, -1].mean(1).T


def records(images):
    each = [matched(*image) for image in images]
    return [a for a, _ in each], [b for _, b in each]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_cocos_own_code(seed):
    generator = rng(seed)
    images = [some_image(generator, objects=1 + seed % 4 * 2) for _ in range(20)]
    found = average_precision(*records(images), np.ones((1, 20)), 3)[..., 0]
    expected = cocos(images)
    assert np.array_equal(np.isnan(found), expected == -1)
    assert np.abs(np.nan_to_num(found, nan=-1.0) - expected).max() < 1e-6
    assert 0.05 < np.nanmean(found) < 0.95


def test_an_image_of_weight_two_counts_as_two_images():
    generator = rng(7)
    images = [some_image(generator, ties=False) for _ in range(12)]
    weights = generator.integers(0, 3, (3, 12))
    found = average_precision(*records(images), weights.astype(float), 3)
    for k, row in enumerate(weights):
        drawn = [image for image, times in zip(images, row, strict=True) for _ in range(times)]
        assert np.abs(found[..., k] - cocos(drawn)).max() < 1e-6


def test_more_than_a_hundred_boxes_of_a_class_do_not_count():
    generator = rng(8)
    images = [some_image(generator, boxes=500) for _ in range(3)]
    found = average_precision(*records(images), np.ones((1, 3)), 3)[..., 0]
    assert np.abs(found - cocos(images)).max() < 1e-6


def test_a_class_without_objects_is_not_defined_and_images_may_be_empty():
    none = {"boxes": np.empty((0, 4)), "labels": np.empty(0), "scores": np.empty(0), "iscrowd": np.empty(0)}
    box = np.array([[0.0, 0, 8, 8]])
    one = {"boxes": box, "labels": np.array([2]), "scores": np.array([0.5]), "iscrowd": np.array([0])}
    found = average_precision(*records([(none, none), (one, one), (one, none)]), np.ones((1, 3)), 3)[..., 0]
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == pytest.approx(1.0)  # of two boxes with equal scores the object comes first


def test_quantities_are_means_over_classes_and_the_sum_of_the_losses():
    generator = rng(9)
    images = [some_image(generator) for _ in range(8)]
    detections, objects = records(images)
    task = Detection()
    outputs = [({"boxes": 0, "labels": 0, "scores": 0}, {"rpn": torch.tensor(1.0), "box": torch.tensor(2.0)})]
    task.check(outputs, CLASSES, "images")
    losses = {"rpn": generator.random(8), "box": generator.random(8)}
    found = task.quantities({"detections": detections, "objects": objects, **losses}, np.ones((1, 8)))
    expected = cocos(images)
    assert found["map", ""][0] == pytest.approx(100 * expected.mean())
    assert found["error", ""][0] == pytest.approx(100 - 100 * expected.mean())
    assert found["map50", ""][0] == pytest.approx(100 * expected[:, 0].mean())
    assert [found["map", name][0] for name in CLASSES] == pytest.approx((100 * expected.mean(1)).tolist())
    assert found["loss", ""][0] == pytest.approx(np.mean(losses["rpn"] + losses["box"]))
    assert set(task.columns) == {"detections", "objects", "rpn", "box"}
