"""Segmentation, language, regression and embeddings: figures by another route, and intervals by simulation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resnet_probe import unravel
from resnet_probe.analyses.averages import over_images
from resnet_probe.data import Data, load_data
from resnet_probe.evaluate import Score, Sweep, evaluate
from resnet_probe.models import resolve
from resnet_probe.tasks import Resampled, task_called
from resnet_probe.tasks.language import hide

from .cases import dense

DATA = (np.float64, np.float32)


def swept(model, data, task, example=None):
    network = unravel(model, data.input_shape if example is None else example)
    variants = {"": network.steps} | {unit.name: network.delete(unit.name).steps for unit in network.blocks}
    return network, evaluate(network, variants, data, task=task, sweep=Sweep(fold=False))


@pytest.fixture(scope="module")
def segmented():
    model, data = dense()
    return model, data, *swept(model, data, task_called("segmentation"))


def test_segmentation_is_that_of_torchmetrics(segmented):
    metrics = pytest.importorskip("torchmetrics.classification")
    _, data, network, scores = segmented
    ((x, y),) = data.batches(len(data))
    for name, score in scores.items():
        with torch.no_grad():
            outputs = network.delete(*filter(None, [name]))(x)
        known = y != 255
        how = {"num_classes": 4, "ignore_index": 255}
        overlap = metrics.MulticlassJaccardIndex(**how)(outputs, y.long())
        each = metrics.MulticlassJaccardIndex(**how, average="none")(outputs, y.long())
        right = metrics.MulticlassAccuracy(**how, average="micro")(outputs, y.long())
        loss = nn.functional.cross_entropy(outputs, y.long(), ignore_index=255)
        assert score.estimates["iou", ""] == pytest.approx(100 * float(overlap), abs=1e-4)
        assert score.error == pytest.approx(100 - 100 * float(right), abs=1e-4)
        assert score.loss == pytest.approx(float(loss), rel=1e-6)
        rows = {row["class"]: row["value"] for row in score.task.rows(score, None) if row["measure"] == "iou"}
        assert [rows[kind] for kind in data.classes] == pytest.approx((100 * each).tolist(), abs=1e-4)
        assert int(np.stack(score.kept["confusion"]).sum()) == int(known.sum())


def test_language_is_that_of_torchmetrics_and_of_a_loop_by_hand():
    text = pytest.importorskip("torchmetrics.text")
    torch.manual_seed(0)
    model = resolve("gpt2-w32").eval()
    data = load_data("pydoc", task="language", limit=11, size=24)
    ((x, y),) = data.batches(11)
    y[0, 5:] = y[3, :2] = -100
    data = Data("text", "test", x, y, data.classes, normalization="none")
    _, scores = swept(model, data, task_called("language"), x[:2])
    assert list(scores) == ["", "blocks.0.attention", "blocks.0.mlp", "blocks.1.attention", "blocks.1.mlp"]
    for name, score in scores.items():
        with torch.no_grad():
            outputs = _without(model, name, x)
        expected = text.Perplexity(ignore_index=-100)(outputs, y)
        assert score.estimates["perplexity", ""] == pytest.approx(float(expected), rel=1e-5)
        known = y != -100
        assert score.error == pytest.approx(100 * float((outputs.argmax(-1) != y)[known].double().mean()), abs=1e-9)
        assert score.loss == pytest.approx(np.log(float(expected)), rel=1e-5)


def _without(model, name, tokens):
    """The network with one block left out, written down once more."""
    x = model.token(tokens) + model.position[: tokens.shape[1]]
    for number, block in enumerate(model.blocks):
        x = x if name == f"blocks.{number}.attention" else x + block.attention(x)
        x = x if name == f"blocks.{number}.mlp" else x + block.mlp(x)
    return model.head(model.norm(x))


def test_hidden_tokens_are_the_targets_and_no_others():
    tokens = torch.arange(4000).reshape(20, 200)
    inputs, targets = hide(tokens, 9999)
    hidden = targets != -100
    assert (inputs[hidden] == 9999).all()
    assert torch.equal(targets[hidden], tokens[hidden])
    assert torch.equal(inputs[~hidden], tokens[~hidden])
    assert 0.13 < float(hidden.double().mean()) < 0.17
    assert all(torch.equal(a, b) for a, b in zip(hide(tokens, 9999), (inputs, targets), strict=True))


def test_a_network_that_fills_gaps_is_measured_on_the_hidden_tokens_alone():
    torch.manual_seed(0)
    model = resolve("gpt2-w32").eval()
    data = load_data("pydoc", task="language", limit=9, size=40)
    task = task_called("masked:0")
    for size in (9, 4):  # the same tokens are hidden, however the windows are batched
        parts = list(task.batches(data, size, torch.device("cpu")))
        inputs, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    hidden = targets != -100
    assert torch.equal(inputs == 0, hidden)
    assert torch.equal(targets[hidden], data.images[hidden])
    assert 0.05 < float(hidden.double().mean()) < 0.25
    _, scores = swept(model, data, task, inputs[:2])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(inputs)[hidden], targets[hidden])
    assert scores[""].loss == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_regression_is_that_of_a_formula(shape):
    _, data = dense()
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn((len(data), *shape), generator=generator)
    data = Data("numbers", "test", data.images, targets, ("number",), normalization="0.5;0.25")
    torch.manual_seed(0)
    model = nn.Sequential(dense()[0][:4], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3 if shape else 1))
    model = model.eval() if shape else nn.Sequential(model, nn.Flatten(0)).eval()
    network, scores = swept(model, data, task_called("regression"))
    ((x, y),) = data.batches(len(data))
    for name, score in scores.items():
        with torch.no_grad():
            outputs = network.delete(*filter(None, [name]))(x).double()
        squared = (outputs - y.double()).square().mean()
        assert score.loss == pytest.approx(float(squared), rel=1e-5)
        variance = y.double().var(0, correction=0).mean()
        assert score.error == pytest.approx(100 * float(squared / variance), rel=1e-5)


def test_embeddings_miss_where_another_target_is_nearer():
    task = task_called("embedding")
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn((40, 5), generator=generator, dtype=torch.float64)
    outputs = targets + torch.randn((40, 5), generator=generator, dtype=torch.float64)
    kept = {name: np.asarray(value) for name, value in task.measure(outputs, targets, outputs).items()}
    found = task.quantities(kept, np.ones((1, 40)))
    cosines = nn.functional.cosine_similarity(outputs[:, None], targets[None], dim=-1)
    missed = cosines.argmax(1) != torch.arange(40)
    assert 0 < int(missed.sum()) < 40
    assert found["error", ""][0] == pytest.approx(100 * float(missed.double().mean()))
    assert found["loss", ""][0] == pytest.approx(1 - float(cosines.diagonal().mean()))


class Counted(Resampled):
    """Wrong ones among a number that differs from example to example."""

    name = "counted"
    columns = {"wrong": "value", "of": "value"}  # noqa: RUF012

    def loss(self, outputs, targets):
        raise NotImplementedError

    def measure(self, outputs, targets, intact):
        raise NotImplementedError

    def quantities(self, kept, weights):
        wrong, of = (weights @ np.asarray(kept[key], dtype=float) for key in ("wrong", "of"))
        return {("error", ""): 100 * wrong / of, ("loss", ""): wrong}


def made(generator, images, *, worse=0.0):
    """Two networks on the same images, whose shares wrong go together from image to image."""
    of = generator.integers(5, 60, images)
    share = np.clip(0.2 + of / 400 + 0.1 * generator.standard_normal(images), 0.01, 0.9)
    task, scores = Counted(), []
    for more in (0.0, worse):
        wrong = generator.binomial(of, np.clip(share + more, 0, 1))
        scores.append(Score(images, {}, {"wrong": wrong, "of": of}, task))
    return scores


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(0)
    many = [score.error for score in made(generator, 400_000, worse=0.05)]
    truth, difference = many[0], many[1] - many[0]
    covered = np.zeros(2)
    for _ in range(repeats := 1000):
        intact, other = made(generator, 80, worse=0.05)
        low, high = intact.interval
        against = other.against(intact)
        assert against["difference"] == pytest.approx(other.error - intact.error)
        covered += low <= truth <= high, against["difference_low"] <= difference <= against["difference_high"]
    assert (covered / repeats > 0.92).all()
    assert (covered / repeats < 0.98).all()


def test_an_interval_is_that_of_scipys_bootstrap():
    from scipy import stats

    (score, _) = made(np.random.default_rng(3), 50)
    wrong, of = score.kept["wrong"], score.kept["of"]
    expected = stats.bootstrap(
        (wrong, of), lambda a, b, axis: 100 * a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=4000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert score.interval == pytest.approx(tuple(expected), abs=0.35)


def test_a_network_compared_with_itself_does_not_differ():
    score, _ = made(np.random.default_rng(4), 30)
    against = score.against(score)
    assert (against["difference"], against["difference_low"], against["difference_high"]) == (0, 0, 0)


OWN = '''
from resnet_probe.tasks import Resampled

class PerImage(Resampled):
    """The share of pixels of an image that are wrong by more than one class."""
    name = "far off"
    labels = "segmentation"
    columns = {"far": "value"}

    def loss(self, outputs, targets):
        return outputs.square().flatten(1).mean(1)

    def measure(self, outputs, targets, intact):
        far = (outputs.argmax(1) - targets.long()).abs() > 1
        return {"far": far.double().flatten(1).mean(1)}

    def quantities(self, kept, weights):
        mean = weights @ kept["far"] / weights.sum(1)
        return {("error", ""): 100 * mean, ("loss", ""): mean}
'''


def test_a_task_of_ones_own_is_swept_like_ours(tmp_path, segmented):
    _, data, network, _ = segmented
    (tmp_path / "own.py").write_text(OWN)
    task = task_called(f"{tmp_path / 'own.py'}:PerImage")
    variants = {"": network.steps, "one": network.delete("1").steps}
    scores = evaluate(network, variants, data, task=task, sweep=Sweep(fold=False))
    ((x, y),) = data.batches(len(data))
    for name, score in scores.items():
        with torch.no_grad():
            far = (network.with_steps(variants[name])(x).argmax(1) - y.long()).abs() > 1
        assert score.error == pytest.approx(100 * float(far.double().mean()), abs=1e-9)


@pytest.mark.parametrize("name", ["detect", "nothing.py:Task", "os:getcwd"])
def test_what_is_no_task_is_refused(name):
    with pytest.raises((LookupError, ValueError)) as refused:
        task_called(name)
    assert "\n" not in str(refused.value)


def test_the_example_of_the_docs_is_a_task(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "own-task.md").read_text(encoding="utf-8")
    (tmp_path / "depth.py").write_text(page.split("```python\n")[1].split("```")[0])
    model, data = dense(classes=1)
    distances = torch.rand((len(data), 12, 12), generator=torch.Generator().manual_seed(2)) + 0.5
    data = Data("rooms", "test", data.images, distances, (), normalization="0.5;0.25")
    network, scores = swept(model, data, task_called(f"{tmp_path / 'depth.py'}:Depth"))
    ((x, y),) = data.batches(len(data))
    for name, score in scores.items():
        with torch.no_grad():
            outputs = network.delete(*filter(None, [name]))(x)[:, 0]
        ratio = (outputs / y).clamp(min=1e-6)
        far = (ratio.maximum(1 / ratio) > 1.25).double().mean()
        assert score.error == pytest.approx(100 * float(far))
        assert score.estimates["rmse", ""] == pytest.approx(float((outputs - y).square().mean()) ** 0.5, rel=1e-5)


def test_contributions_have_the_figures_as_their_means_and_the_spread_of_their_intervals():
    generator = np.random.default_rng(5)
    score, other = made(generator, 300, worse=0.05)
    assert score.errors.mean() == pytest.approx(score.error, abs=1e-9)
    wrong, of = score.kept["wrong"], score.kept["of"]
    linear = score.error + (100 * wrong - score.error * of) / of.mean()  # the ratio's linear part (Cochran 1977, 2.11)
    assert np.corrcoef(score.errors, linear)[0, 1] > 0.999
    low, high = score.interval
    assert 2 * 1.96 * score.errors.std(ddof=1) / 300**0.5 == pytest.approx(high - low, rel=0.1)
    against = other.against(score)
    apart = other.errors - score.errors
    width = against["difference_high"] - against["difference_low"]
    assert 2 * 1.96 * apart.std(ddof=1) / 300**0.5 == pytest.approx(width, rel=0.1)


def kept(task, outputs, targets):
    return {name: np.asarray(value) for name, value in task.measure(outputs, targets, outputs).items()}


def test_a_regression_of_any_scale_is_that_of_a_formula():
    task = task_called("regression")
    generator = torch.Generator().manual_seed(0)
    noise, wrong = torch.randn((2, 40, 1), generator=generator, dtype=torch.float64)
    for scale, middle in ((1e5, 3e5), (1e-8, 0.0), (1.0, 4e6)):  # a price, a length in metres, a time
        targets = (middle + scale * noise).float().double()
        found = task.quantities(kept(task, targets + scale * wrong, targets[:, 0]), np.ones((1, 40)))
        assert found["loss", ""][0] == pytest.approx(float((scale * wrong).square().mean()))
        expected = 100 * float((scale * wrong).square().mean() / targets.var(correction=0))
        assert found["error", ""][0] == pytest.approx(expected, rel=1e-6)
    of_overflow = task.quantities(kept(task, targets * torch.nan, targets), np.ones((1, 40)))
    assert of_overflow["error", ""][0] > 1e30
    alike = kept(task, targets, torch.full_like(targets, 0.1))
    assert np.isnan(task.quantities(alike, np.ones((1, 40)))["error", ""][0])


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_outputs_without_a_direction_are_near_to_no_target(value):
    task = task_called("embedding")
    targets = torch.eye(5)
    outputs = targets.clone()
    outputs[2] = value
    assert task.quantities(kept(task, outputs, targets), np.ones((1, 5)))["error", ""][0] == pytest.approx(20)


def test_an_error_is_that_of_the_quantities_whatever_the_columns_are_called():
    kept = {"wrong": np.array([1.0, 2.0, 3.0]), "of": np.full(3, 4.0)}
    score = Score(3, {"wrong": 6.0, "of": 12.0}, kept, Counted())
    assert (score.error, score.loss, score.wrong) == (50, 6, None)


def test_one_example_has_no_interval_and_undefined_resamples_do_not_count():
    one = Score(1, {}, {"wrong": np.array([1.0]), "of": np.array([4.0])}, Counted())
    assert one.interval == (None, None)
    assert one.against(one)["difference_low"] is None
    assert over_images([one, one], None, 0)[1] == (None, None)
    none = {"wrong": np.array([1.0, 0.0, 1.0]), "of": np.array([4.0, 0.0, 2.0])}  # a resample may be of the second only
    with np.errstate(invalid="ignore"):
        low, high = over_images([Score(3, {}, none, Counted())] * 2, None, 0)[1]
    assert (low, high) == pytest.approx((19.25, 44.25), abs=0.05)  # 25 to 50, moved by twice the bias


def test_another_code_of_ones_own_is_another_task(tmp_path):
    assert task_called("detection").identity == ""
    found = set()
    for number, code in enumerate((OWN, OWN.replace("> 1", "> 2"), OWN)):
        (tmp_path / "own.py").write_text(code)
        found.add(task_called(f"{tmp_path / 'own.py'}:PerImage").identity)
        assert len(found) == min(number + 1, 2)


@pytest.mark.parametrize("task", ["regression", "segmentation"])
def test_targets_of_another_size_are_refused_in_one_line(task):
    model, data = dense()
    targets = data.labels[:, :5, :5] if task == "segmentation" else torch.rand(len(data), 2)
    data = Data("others", "test", data.images, targets, data.classes, normalization="0.5;0.25")
    network = unravel(model, data.input_shape)
    with pytest.raises(ValueError, match="do not go together") as refused:
        evaluate(network, {"": network.steps}, data, task=task_called(task))
    assert "\n" not in str(refused.value)
