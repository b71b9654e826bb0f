"""Detection and segmentation: steps against loops by hand, moves against torchvision's, resumed bit for bit."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as tv

from resnet_probe import checkpoint
from resnet_probe.analyses.grid import Cell, train_cell
from resnet_probe.cli import main
from resnet_probe.data import Data, load_data
from resnet_probe.models import resolve
from resnet_probe.training import Batches, Keeper, Recipe, TrainingError, fit, recipe_for, seeded
from resnet_probe.training.augment import Moves
from resnet_probe.training.objectives import OBJECTIVES

ARCHS = {"detection": "fasterrcnn_resnet18_fpn", "segmentation": "fcn_resnet18"}
CLASSES = 11
SMALL = {"learning_rate": 0.01, "batch_size": 2, "epochs": 2}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def canvases():
    return {task: load_data("canvases", split="train", task=task, limit=4) for task in ARCHS}


def network(task):
    with seeded(0):
        return resolve(ARCHS[task], num_classes=CLASSES)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("task", ARCHS)
def test_a_step_is_one_of_the_loop_in_torchvisions_references(canvases, task):
    data, model = canvases[task], network(task)
    recipe = Recipe(iterations=1, learning_rate=0.01, batch_size=4, momentum=0.0, weight_decay=0.0, schedule="constant")
    by_hand = network(task).train()
    index = torch.randperm(4, generator=torch.Generator().manual_seed(recipe.seed))
    with seeded(recipe.seed):
        if task == "detection":
            images = [data.images[i].float() / 255 for i in index]
            rows = [data.labels[i][data.labels[i, :, 4] > 0] for i in index]
            targets = [{"boxes": each[:, :4], "labels": each[:, 4].long()} for each in rows]
            loss = sum(by_hand(images, targets).values())
        else:
            images = (data.images[index].float() / 255 - 0.5) / 0.5
            loss = F.cross_entropy(by_hand(images)["out"], data.labels[index].long())
    loss.backward()
    with torch.no_grad():
        for parameter in by_hand.parameters():
            parameter.sub_(0.01 * parameter.grad)
    history = fit(model, data, task=task, recipe=recipe, channels_last=False)
    assert history.rows[0].train_loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, tensor in by_hand.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("task", ARCHS)
def test_a_training_stopped_and_resumed_ends_in_the_same_bits(tmp_path, canvases, task):
    data, whole, parts = canvases[task], network(task), network(task)
    flip = {"flip": True} if task == "detection" else {"pad": 4}
    at_once = fit(whole, data, task=task, test=data.subset(slice(2)), **SMALL, **flip)
    steps = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        fit(
            parts,
            data,
            task=task,
            **SMALL,
            **flip,
            test=data.subset(slice(2)),
            keeper=Keeper(tmp_path, {}),
            stop=steps.__next__,
        )
    resumed = network(task)
    history = fit(resumed, data, task=task, **SMALL, **flip, test=data.subset(slice(2)), keeper=Keeper(tmp_path, {}))
    assert same(weights(whole), weights(resumed))
    assert not same(weights(whole), weights(parts))
    for one, other in zip(at_once.rows, history.rows, strict=True):
        assert (one.train_loss, one.test_loss, one.test_error) == (other.train_loss, other.test_loss, other.test_error)
        assert (one.train_error is None) == (task == "detection")


def test_mirrored_boxes_are_torchvisions(canvases):
    data = canvases["detection"]
    moves = Moves(
        0, torch.zeros(4, 1).long(), torch.zeros(4, 1).long(), torch.tensor([[True], [False], [True], [True]])
    )
    images, targets = OBJECTIVES["detection"].batch(data, torch.arange(4), moves, data.normalizer(), CPU)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        rows = data.labels[number][data.labels[number, :, 4] > 0]
        boxes = tv_tensors.BoundingBoxes(rows[:, :4], format="XYXY", canvas_size=(96, 96))
        pixels = data.images[number]
        if moves.mirrored[number]:
            boxes, pixels = tv.horizontal_flip(boxes), tv.horizontal_flip(pixels)
        assert torch.equal(target["boxes"], boxes.as_subclass(torch.Tensor))
        assert torch.equal(image, pixels.float() / 255)
        assert torch.equal(target["labels"], rows[:, 4].long())


def test_crowds_are_not_trained_on(canvases):
    labels = canvases["detection"].labels.clone()
    labels[:, 0, 6] = 1
    data = Data("crowds", "train", canvases["detection"].images, labels, tuple("0123456789"), "none")
    _, targets = OBJECTIVES["detection"].batch(data, torch.arange(4), None, data.normalizer(), CPU)
    for target, rows in zip(targets, labels, strict=True):
        assert torch.equal(target["boxes"], rows[1:, :4][rows[1:, 4] > 0])


def test_masks_move_with_their_images_and_what_comes_in_counts_for_nothing():
    masks = torch.randint(0, 11, (3, 12, 12), generator=torch.Generator().manual_seed(0)).byte()
    data = Data("same", "train", masks[:, None], masks, tuple("abcdefghijk"), "none")
    moves = Moves.draw(3, pad=4, flip=True, generator=torch.Generator().manual_seed(1))
    images, moved = OBJECTIVES["segmentation"].batch(data, torch.arange(3), moves, data.normalizer(), CPU)
    inside = moved != 255
    pixels = (images[:, 0] * 255).round().byte()
    assert torch.equal(pixels[inside], moved[inside])
    assert bool((pixels[~inside] == 0).all())
    for number in range(3):
        rows, columns = (
            len(range(max(0, 4 - at), min(12, 16 - at))) for at in (moves.rows[number], moves.columns[number])
        )
        assert int(inside[number].sum()) == rows * columns


class Answers(nn.Module):
    """A network whose answers are given."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.weight = answers, nn.Parameter(torch.ones(()))

    def forward(self, images, targets=None):
        return {"a": 2 * self.weight, "b": self.weight} if self.training else self.answers


def test_ignored_pixels_count_for_nothing():
    scores = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    masks = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1)).byte()
    masks[0, :2], masks[1, 0, 0] = 255, 255
    loss, wrong = OBJECTIVES["segmentation"].test(lambda inputs: {"out": scores}, None, masks)
    losses, shares = [], []
    for number in range(2):
        known = masks[number] != 255
        chances = scores[number].double().softmax(0)[:, known].numpy()
        truth = masks[number][known].numpy()
        losses.append(-np.log(chances[truth, np.arange(len(truth))]).mean())
        shares.append((chances.argmax(0) != truth).mean())
    assert float(loss) == pytest.approx(sum(losses), rel=1e-5)
    assert float(wrong) == pytest.approx(sum(shares))


def test_an_object_is_found_by_its_class_a_score_and_an_overlap():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    target = {"boxes": torch.cat([box, box + 20, box + 40, box + 60]), "labels": torch.tensor([1, 2, 3, 4])}
    answer = {
        "boxes": torch.cat([box + torch.tensor([0, 0, 0, 5]), box + 20, box + 40, box + 66]),
        "labels": torch.tensor([1, 1, 3, 4]), "scores": torch.tensor([0.9, 0.9, 0.4, 0.9]),
    }  # fmt: skip
    none = {"boxes": torch.empty(0, 4), "labels": torch.empty(0).long()}
    model = Answers([answer, answer]).eval()
    loss, missed = OBJECTIVES["detection"].test(model, [torch.zeros(3, 90, 90)] * 2, [target, none])
    assert float(missed) == 3 / 4  # of the four, the first alone: another class, a low score, too little overlap
    assert float(loss.detach()) == 2 * 3
    assert not model.training


@pytest.mark.parametrize(
    ("task", "arch", "values", "told"),
    [
        ("detection", "fcn_resnet18", {}, "FCN does not train for detection"),
        ("segmentation", "fasterrcnn_resnet18_fpn", {}, "FasterRCNN does not train for segmentation"),
        ("segmentation", "resnet8", {}, r"must be \(images, 11, H, W\)"),
        ("detection", "fasterrcnn_resnet18_fpn", {"pad": 2}, "pad 2 given for detection"),
        ("segmentation", "fcn_resnet18", {"resized_crop": True}, "resized_crop True given for segmentation"),
        ("classification", "fcn_resnet18", {}, r"labels of canvases are \(4, 96, 96\), not for classification"),
        ("words", "fcn_resnet18", {}, "unknown task 'words'"),
    ],
)
def test_what_does_not_go_together_is_refused(canvases, task, arch, values, told):
    data = canvases["detection" if task == "detection" else "segmentation"]
    with pytest.raises(TrainingError, match=told):
        fit(resolve(arch, num_classes=CLASSES), data, task=task, **SMALL, **values)


def test_processes_share_a_batch(canvases):
    recipe = Recipe(iterations=1, learning_rate=0.1, batch_size=4, flip=True)
    parts = [
        next(Batches(canvases["detection"], recipe, rank=rank, world=world, objective=OBJECTIVES["detection"]).epoch())[
            0
        ]
        for rank, world in ((0, 1), (0, 2), (1, 2))
    ]
    for part, step in ((parts[1], 0), (parts[2], 1)):
        assert part.of_step == 4
        for image, target, mine, ours in zip(
            part.inputs, part.labels, parts[0].inputs[step::2], parts[0].labels[step::2], strict=True
        ):
            assert torch.equal(image, mine)
            assert torch.equal(target["boxes"], ours["boxes"])


@pytest.mark.parametrize("task", ARCHS)
def test_saved_weights_say_what_they_are(tmp_path, canvases, task):
    cell = Cell("net", ARCHS[task], Recipe(learning_rate=0.01, batch_size=4, epochs=1))
    made = train_cell(cell, canvases[task], canvases[task], folder=tmp_path, task=task)
    assert made["row"]["test_error"] is not None
    found = checkpoint.load(tmp_path / "net.safetensors")
    assert (found.arch, found.num_classes, found.metadata["task"]) == (ARCHS[task], CLASSES, task)
    images = torch.zeros(2, 3, 96, 96)
    with torch.no_grad():
        out = found.model(images)
    if task == "detection":
        assert [sorted(each) for each in out] == [["boxes", "labels", "scores"]] * 2
    else:
        assert out["out"].shape == (2, CLASSES, 96, 96)


@pytest.mark.slow
def test_the_command_trains_by_the_recipe_of_its_task(tmp_path):
    options = ["--epochs", "1", "--limit", "8", "--out", str(tmp_path), "--quiet"]
    assert main(["train", "--arch", ARCHS["detection"], "--data", "canvases", "--task", "detection", *options]) == 0
    found = checkpoint.load(tmp_path / f"{ARCHS['detection']}.safetensors")
    assert found.metadata["recipe"] == asdict(recipe_for("detection", epochs=1)) | {"milestones": []}
