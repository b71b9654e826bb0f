"""Training: one step against a hand-written update, crops against slices, and no trace left behind."""

import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from resnet_probe.data import Data, load_data
from resnet_probe.models import resolve
from resnet_probe.training import (
    DEMO_RECIPES,
    SCHEDULES,
    Batches,
    Recipe,
    TrainingError,
    fit,
    pad_crop_flip,
    rate_factor,
    seeded,
    steps_per_epoch,
)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", split="train", limit=60)


def network(seed=0, dropout=0.0):
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(144, 10),
        )


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


SMALL = {"epochs": 2, "learning_rate": 0.1, "batch_size": 16, "pad": 1, "flip": True, "warmup": 0.3}


# Against a second route


def test_steps_equal_hand_written_updates(digits):
    """Two steps of SGD with momentum and weight decay on a linear network, whose gradient has a closed form."""
    lr, momentum, decay = 0.2, 0.9, 0.01
    with seeded(3):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight, bias = (parameter.detach().double() for parameter in model[1].parameters())
    (x, labels), *_ = digits.batches(60)
    x, target = x.flatten(1).double(), nn.functional.one_hot(labels, 10).double()
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for _ in range(2):
        surplus = (torch.softmax(x @ weight.T + bias, 1) - target) / 60
        moved = [
            momentum * moved[0] + surplus.T @ x + decay * weight,
            momentum * moved[1] + surplus.sum(0) + decay * bias,
        ]
        weight, bias = weight - lr * moved[0], bias - lr * moved[1]
    fit(
        model,
        digits,
        epochs=2,
        learning_rate=lr,
        momentum=momentum,
        weight_decay=decay,
        schedule="constant",
    )
    assert torch.allclose(model[1].weight.double(), weight, atol=1e-6)
    assert torch.allclose(model[1].bias.double(), bias, atol=1e-6)


def test_parts_of_a_batch_add_up_to_it(digits):
    """Accumulated in three unequal parts, a step of a network without batch norm is the step of the whole batch."""
    models = []
    for accumulate in (1, 3):
        with seeded(3):
            model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        fit(model, digits, epochs=2, learning_rate=0.5, batch_size=20, accumulate=accumulate)
        models.append(weights(model))
    for one, other in zip(models[0].values(), models[1].values(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_history_is_of_the_images_as_they_came_by(digits):
    """With a learning rate too small to move a weight, loss and error are those of the network as it is."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    (x, labels), *_ = digits.batches(60)
    logits = model(x)
    history = fit(model, digits, epochs=2, learning_rate=1e-12, batch_size=7, schedule="linear")
    assert [row.epoch for row in history.rows] == [1, 2]
    for row in history.rows:
        assert row.train_loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
        assert row.train_error == pytest.approx(100 * (logits.argmax(1) != labels).float().mean().item())
        assert row.seconds > 0
    assert history.rows[-1].learning_rate == pytest.approx(1e-12 / 18)  # the last of 2 epochs of 9 steps
    assert history.settings["batch_size"] == 7


def test_crops_are_windows_of_the_padded_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(1, 1000 * 2 * 3 * 4 + 1).reshape(1000, 2, 3, 4)
    moved = pad_crop_flip(images, pad=2, flip=True, generator=generator)
    seen = set()
    for image, result in zip(images, moved, strict=True):
        padded = torch.zeros(2, 7, 8, dtype=torch.int64)
        padded[:, 2:5, 2:6] = image
        windows = {
            (row, column, mirrored): window.flip(2) if mirrored else window
            for row in range(5)
            for column in range(5)
            for mirrored in (False, True)
            for window in [padded[:, row : row + 3, column : column + 4]]
        }
        fitting = [place for place, window in windows.items() if torch.equal(window, result)]
        assert len(fitting) == 1
        seen.update(fitting)
    assert len(seen) == 50  # each place and both directions occur


def test_without_augmentation_images_pass_untouched():
    images = torch.rand(3, 1, 4, 4)
    assert pad_crop_flip(images, pad=0, flip=False, generator=torch.Generator()) is images
    plain = pad_crop_flip(images, pad=0, flip=True, generator=torch.Generator().manual_seed(0))
    assert all(any(torch.equal(a, b) for b in (image, image.flip(2))) for a, image in zip(plain, images, strict=True))


def test_each_epoch_holds_every_image_once(digits):
    data = digits.with_normalization("none")
    batches = Batches(data, Recipe(epochs=1, learning_rate=1.0, batch_size=16))
    parts = [(part.inputs, part.labels) for (part,) in batches.epoch()]
    assert [len(labels) for _, labels in parts] == [15, 15, 15, 15]
    rows = {(*image.flatten().tolist(), label) for x, y in parts for image, label in zip(x, y.tolist(), strict=True)}
    expected = {
        (*image.flatten().tolist(), y) for image, y in zip(data.images / 255, data.labels.tolist(), strict=True)
    }
    assert rows == expected
    again = [part.labels for (part,) in batches.epoch()]
    assert not torch.equal(parts[0][1], again[0])
    assert [steps_per_epoch(60, size) for size in (1, 7, 60, 100)] == [60, 9, 1, 1]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_learning_rate_rises_then_follows_its_schedule(schedule, warmup):
    rising = round(100 * warmup)
    factors = [rate_factor(step, 100, rising=rising, schedule=schedule) for step in range(100)]
    assert factors[:rising] == pytest.approx([(step + 1) / 25 for step in range(rising)])
    assert factors[rising] == 1
    assert all(0 < factor <= 1 for factor in factors)
    falling = factors[rising:]
    assert falling == sorted(falling, reverse=True)
    half = rising + (100 - rising) // 2
    assert factors[half] == pytest.approx(1 if schedule in ("constant", "steps") else 0.5, abs=0.02)


def test_the_cosine_is_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for step in range(40):
        expected = optimizer.param_groups[0]["lr"]
        assert 0.3 * rate_factor(step, 40, rising=0, schedule="cosine") == pytest.approx(expected)
        optimizer.step()
        torchs.step()


# Reproducible, and without a trace


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits):
    results = []
    for seed, dropout in ((0, 0.5), (0, 0.5), (1, 0.5), (0, 0.0), (1, 0.0)):
        model = network(dropout=dropout)
        torch.manual_seed(len(results))  # the global state must not matter
        fit(model, digits, seed=seed, **SMALL)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    assert not same(results[3], results[4])  # order and augmentation alone


def test_files_train_like_pixels_in_memory(tmp_path):
    from PIL import Image

    from resnet_probe.data.folder import load_folder

    digits = load_data("digits", split="train", limit=30)
    for number, (image, label) in enumerate(zip(digits.images, digits.labels.tolist(), strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / str(label) / f"{number}.png")
    results = []
    for memory in (0, 10**9):
        data = load_folder(tmp_path, split="test", limit=None, normalization="half", size=None, memory=memory)
        with seeded(0):
            model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
        fit(model, data, **SMALL)
        results.append(weights(model))
    assert same(*results)


@pytest.mark.parametrize("ending", ["done", "raised"])
def test_nothing_but_the_model_is_changed(digits, ending):
    model = network(dropout=0.5).eval()
    model[1].train()
    modes = [module.training for module in model.modules()]
    pixels, before = digits.images.clone(), weights(model)
    state = torch.get_rng_state()

    def stop(progress):
        assert all(module.training for module in model.modules())
        if ending == "raised" and progress.step == 3:
            raise KeyboardInterrupt

    if ending == "raised":
        with pytest.raises(KeyboardInterrupt):
            fit(model, digits, progress=stop, **SMALL)
    else:
        with torch.no_grad():
            fit(model, digits, progress=stop, **SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert torch.equal(digits.images, pixels)
    assert not same(weights(model), before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weights_have_the_layout_that_they_had(digits, layout):
    with seeded(0):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))
    model.to(memory_format=layout)
    fit(model, digits, **SMALL)
    assert model[1].weight.is_contiguous(memory_format=layout)


def test_frozen_parameters_stay(digits):
    model = network()
    model[0].requires_grad_(False)
    before = weights(model)
    fit(model, digits, **SMALL)
    after = weights(model)
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["5.weight"], before["5.weight"])


def test_seeded_blocks_draw_alike_and_leave_the_rest_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(1):
        first = torch.rand(3)

    def draw_and_fail():
        with seeded(1):
            assert torch.equal(torch.rand(3), first)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert torch.equal(torch.rand(2), expected)


# Progress, History


def test_progress_counts_every_step(digits):
    seen = []
    history = fit(network(), digits, progress=seen.append, **SMALL)
    assert [p.step for p in seen] == list(range(9))
    assert [p.epoch for p in seen] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert {(p.steps, p.epochs) for p in seen} == {(8, 2)}
    assert seen[-1].rows == history.rows
    assert [p.last for p in seen] == [None] * 4 + [history.rows[0]] * 4 + [history.rows[1]]
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
    with pytest.raises(AttributeError):
        history.rows[0].train_loss = 0
    assert set(asdict(history.rows[0])) == {
        "epoch", "iteration", "learning_rate", "train_loss", "train_error", "test_loss", "test_error", "seconds",
        "images",
    }  # fmt: skip


def test_settings_lead_to_the_same_weights_again(digits):
    first, second = network(), network()
    history = fit(first, digits, seed=4, weight_decay=0.01, label_smoothing=0.1, nesterov=True, **SMALL)
    assert fit(second, digits, **history.settings).settings == history.settings
    assert same(weights(first), weights(second))


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"learning_rate": 0.0}, "learning rate 0.0"),
        ({"learning_rate": math.nan}, "learning rate nan"),
        ({"warmup": -1.0}, "warmup -1.0"),
        ({"precision": "fp16"}, "precision fp16 is for GPUs; give bf16 or fp32 on a CPU"),
        ({"schedule": "step"}, "unknown schedule 'step': give one of constant, linear, cosine, steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_changed(digits, change, message):
    model = network()
    before = weights(model)
    with pytest.raises(TrainingError, match=message):
        fit(model, digits, **(SMALL | change))
    assert same(weights(model), before)


def test_wrong_numbers_of_classes_and_images_are_refused(digits):
    with pytest.raises(TrainingError, match=r"output is \(15, 7\), but digits has 10 classes"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), digits, **SMALL)
    with pytest.raises(TrainingError, match="1 images to train on"):
        fit(network(), digits.subset(slice(0, 1)), **SMALL)
    with pytest.raises(TrainingError, match="no parameters"):
        fit(network().requires_grad_(False), digits, **SMALL)


def test_a_diverged_training_says_so(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 10))
    with pytest.raises(TrainingError, match=r"diverged; try a learning rate below 1e\+30"):
        fit(model, digits, epochs=5, learning_rate=1e30)
    assert all(parameter.grad is None for parameter in model.parameters())


# The demo


@pytest.mark.parametrize("arch", DEMO_RECIPES)
def test_demo_recipes_are_settings_of_fit(arch, digits):
    model = resolve(arch, num_classes=10, in_channels=1)
    short = DEMO_RECIPES[arch] | {"epochs": 1}
    history = fit(model, digits, **short)
    assert short.items() <= history.settings.items()


def test_data_of_tensors_can_be_trained_on():
    data = Data(
        "made", "train", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b"), "none"
    )
    history = fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data, epochs=1, learning_rate=0.1)
    assert math.isfinite(history.rows[0].train_loss)


def test_what_the_user_set_for_cudnn_holds():
    cudnn, seen = torch.backends.cudnn, set()

    def watch(now):
        seen.add((cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32))

    before = cudnn.deterministic, cudnn.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32 = True, False
    try:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        fit(network, load_data("digits", limit=4), iterations=1, learning_rate=0.1, progress=watch)
        assert not cudnn.benchmark
    finally:
        cudnn.deterministic, cudnn.allow_tf32 = before
    assert seen == {(True, True, False)}
