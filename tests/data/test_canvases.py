"""Canvases: boxes and masks, compared with what the pixels themselves show."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_iou, masks_to_boxes

from resnet_probe.data import DataError, load_data


@pytest.fixture(scope="module", params=["train", "test"])
def both(request):
    return [load_data("canvases", split=request.param, task=task) for task in ("detection", "segmentation")]


def test_boxes_enclose_exactly_the_pixels_of_their_masks(both):
    boxes, masks = both
    assert torch.equal(boxes.images, masks.images)
    for rows, mask in zip(boxes.labels, masks.labels, strict=True):
        objects = rows[rows[:, 4] > 0]
        assert bool((rows[len(objects) :] == -1).all())
        covered = torch.zeros_like(mask)
        for x1, y1, x2, y2, label, area, crowd in objects.tolist():
            inside = torch.zeros_like(mask, dtype=torch.bool)
            inside[int(y1) : int(y2), int(x1) : int(x2)] = True
            own = inside & (mask == label)
            assert masks_to_boxes(own[None])[0].tolist() == [x1, y1, x2 - 1, y2 - 1]
            assert (own.sum().item(), crowd) == (area, 0)
            covered += own.byte()
        assert torch.equal(covered == 1, mask > 0)


def test_masks_are_where_the_brightest_pixels_are(both):
    _, masks = both
    bright = masks.images.amax(1)
    assert bright[masks.labels > 0].float().mean() > 130
    # the ground ends at 95, and what ink is added to it from there on is what the mask has
    assert (masks.labels[bright > 145] > 0).float().mean() > 0.99


def outlines(split):
    """(class, shape) of every digit of a split at every size, enlarged by torch."""
    digits = load_data("digits", split=split)
    found = set()
    for side in range(16, 33):
        ink = F.interpolate(digits.images.double(), (side, side), mode="bilinear", align_corners=False)[:, 0]
        masks = ink + 1e-6 >= 96
        for label, mask, (x1, y1, x2, y2) in zip(
            digits.labels, masks, masks_to_boxes(masks).int().tolist(), strict=True
        ):
            found.add((int(label), mask[y1 : y2 + 1, x1 : x2 + 1].numpy().tobytes()))
    return found


def test_digits_are_those_of_the_split_and_of_no_other():
    boxes, masks = (load_data("canvases", task=task) for task in ("detection", "segmentation"))
    shapes = [
        (label - 1, (mask[y1:y2, x1:x2] == label).numpy().tobytes())
        for rows, mask in zip(boxes.labels, masks.labels, strict=True)
        for x1, y1, x2, y2, label, *_ in rows[rows[:, 4] > 0].int().tolist()
    ]
    own, other = outlines("test"), outlines("train")
    assert set(shapes) <= own
    assert np.mean([shape in other for shape in shapes]) < 0.05  # simple shapes may be equal by chance


def test_boxes_cover_each_other_hardly(both):
    for rows in both[0].labels:
        corners = rows[rows[:, 4] > 0, :4]
        assert box_iou(corners, corners).triu(1).max() == 0
        assert corners.min() >= 0
        assert corners.max() <= 96


def test_every_class_and_number_of_digits_occurs(both):
    boxes, masks = both
    assert (boxes.classes, masks.classes) == (tuple("0123456789"), ("background", *"0123456789"))
    assert sorted(set((boxes.labels[:, :, 4] > 0).sum(1).tolist())) == [1, 2, 3, 4]
    assert masks.labels.unique().tolist() == list(range(11))


def test_the_same_canvases_are_made_on_every_machine():
    prints = [load_data("canvases", split=split, task="detection").fingerprint[:8] for split in ("train", "test")]
    assert prints == ["67a7cca1", "8f82a357"]


def test_a_limit_keeps_the_first():
    few = load_data("canvases", task="detection", limit=3)
    assert torch.equal(few.labels, load_data("canvases", task="detection").labels[:3])


def test_canvases_without_a_task_are_refused():
    with pytest.raises(DataError, match="detection and segmentation, not classification") as caught:
        load_data("canvases")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no split 'val'"):
        load_data("canvases", task="detection", split="val")
