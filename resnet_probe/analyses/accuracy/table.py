"""Run networks over images once, and tabulate their errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.accuracy import AVERAGES, CLASSES, EVALUATE, RELIABILITY
from resnet_probe.analyses.accuracy.views import View
from resnet_probe.analyses.columns import INTACT_ITSELF
from resnet_probe.statistics import paired, wilson
from resnet_probe.tables import Result

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_probe.analyses.accuracy.scoring import Predictions
    from resnet_probe.data import Data

ENSEMBLE = "(ensemble)"


@dataclass(frozen=True)
class Accuracy:
    """Tables `evaluate`, `evaluate_classes` and `evaluate_reliability`."""

    table: Result
    classes: Result
    reliability: Result


def tabulate(
    networks: Mapping[str, nn.Module],
    data: Data,
    *,
    normalizations: Mapping[str, str] | None = None,
    views: Sequence[View],
    ensemble: bool = False,
    average: str = "softmax",
    batch_size: int = 64,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Errors of networks, and of all of them together, in one pass over the images.

    Args:
        networks: by name; in evaluation mode and on `device`.
        normalizations: per network how its images are normalised; by default as `data` says.
        views: how each image is looked at; each has rows of its own.
        average: of several inputs or networks: `softmax` (mean of probabilities) or `logits`.

    Raises:
        ValueError: no images, networks or views; an ensemble of one; an unknown average; a network whose classes are
            not those of the data, or that cannot take inputs of a view's size.
    """
    import torch  # noqa: PLC0415 - torch is needed to run, not to plot

    from resnet_probe.analyses.accuracy.scoring import BINS, Tally  # noqa: PLC0415
    from resnet_probe.analyses.accuracy.scoring import average as averaged  # noqa: PLC0415

    if not len(data) or not networks or not views:
        given = f"{len(networks)} networks, {len(views)} views and {len(data)} images"
        raise ValueError(f"{given} to evaluate; give one or more of each")
    if average not in AVERAGES:
        raise ValueError(f"unknown average {average!r}: give one of {', '.join(AVERAGES)}")
    if ensemble and len(networks) < 2:
        raise ValueError("an ensemble of one network; give two or more")
    normalizations = {name: (normalizations or {}).get(name, data.normalization) for name in networks}
    normalizers = {
        how: data.with_normalization(how).normalizer(device) for how in dict.fromkeys(normalizations.values())
    }
    names = [*networks, ENSEMBLE] if ensemble else [*networks]
    tallies = {(name, view.name): Tally() for name in names for view in views}
    done = 0
    with torch.inference_mode():
        for pixels, labels in data.pixel_batches(batch_size, device=device):
            images = {how: normalize(pixels) for how, normalize in normalizers.items()}
            if not done:
                for name, model in networks.items():
                    _check(name, model, images[normalizations[name]][:1], views, data)
            for view in views:
                outputs: list[Tensor] = []
                for name, model in networks.items():
                    mine = [model(part) for part in view.parts(images[normalizations[name]])]
                    tallies[name, view.name].add(averaged(mine, average), labels)
                    outputs += mine if ensemble else []
                if ensemble:
                    tallies[ENSEMBLE, view.name].add(averaged(outputs, average), labels)
            done += len(labels)
            if progress:
                progress(done, len(data))
    outcomes = {key: tally.finish() for key, tally in tallies.items()}
    settings = {
        "images": len(data), "classes": len(data.classes), "bins": BINS, "average": average,
        "views": {view.name: view.settings for view in views}, "members": list(networks) if ensemble else None,
    }  # fmt: skip
    inputs = {view.name: view.count for view in views}
    first = next(iter(outcomes))
    rows = [
        _row(key, predictions, inputs[key[1]], len(data.classes))
        | _against(first, outcomes[first], None if key == first else predictions)
        for key, predictions in outcomes.items()
    ]
    by_class = [row for key, predictions in outcomes.items() for row in _class_rows(key, predictions, data.classes)]
    if data.mapped:  # to a network that knows other classes too
        by_class = [row for row in by_class if row["images"]]
    by_bin = [row for key, predictions in outcomes.items() for row in _bin_rows(key, predictions)]
    tables = ((EVALUATE, rows), (CLASSES, by_class), (RELIABILITY, by_bin))
    return Accuracy(*(table.result(its, **settings) for table, its in tables))


def _check(name: str, model: nn.Module, image: Tensor, views: Sequence[View], data: Data) -> None:
    """Find out before the pass whether a network takes what it will be given."""
    for view in views:
        for part in view.parts(image):
            try:
                output = model(part)
            except (RuntimeError, ValueError, AssertionError) as error:
                if "out of memory" in str(error):
                    raise
                size = "x".join(map(str, part.shape[-2:]))
                reason = " ".join(str(error).split())[:160]
                raise ValueError(
                    f"{name} does not take the {size} inputs of view {view.name} ({reason}); give sizes that it takes"
                ) from error
            if output.shape[1:] != (len(data.classes),):
                raise ValueError(
                    f"{name} puts out {tuple(output.shape[1:])} values for an image and {data.name} has "
                    f"{len(data.classes)} classes; give the data that the network was trained for"
                )


def _row(key: tuple[str, str], predictions: Predictions, inputs: int, classes: int) -> dict[str, Any]:
    images, wrong = len(predictions.labels), int(predictions.wrong.sum())
    missed = int((~predictions.in_top5).sum())
    low, high = wilson(wrong, images)
    low5, high5 = wilson(missed, images) if classes > 5 else (None, None)
    return {
        "network": key[0],
        "images": images,
        "top1_error": 100 * wrong / images,
        "top5_error": 100 * missed / images if classes > 5 else None,
        "loss": predictions.loss,
        "calibration_error": predictions.calibration_error(),
        "view": key[1],
        "inputs": inputs,
        "wrong": wrong,
        "top1_low": low,
        "top1_high": high,
        "top5_low": low5,
        "top5_high": high5,
        "confidence": float(predictions.confidence.mean()),
    }


def _against(key: tuple[str, str], first: Predictions, predictions: Predictions | None) -> dict[str, Any]:
    """Paired with the first row; None of everything for that row itself."""
    if predictions is None:
        return {"against": None, **INTACT_ITSELF}
    return {"against": ", ".join(key), **asdict(paired(first.wrong, predictions.wrong))}


def _class_rows(key: tuple[str, str], predictions: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(classes):
        predicted = predictions.predicted[predictions.labels == index]
        others = Counter(predicted[predicted != index].tolist())
        images, wrong = len(predicted), others.total()
        low, high = wilson(wrong, images) if images else (None, None)
        # of equally common ones the first class
        other = min(others, key=lambda other: (-others[other], other)) if others else None
        rows.append(
            {
                "network": key[0],
                "view": key[1],
                "class": name,
                "index": index,
                "images": images,
                "wrong": wrong,
                "error": 100 * wrong / images if images else None,
                "error_low": low,
                "error_high": high,
                "mostly_taken_for": None if other is None else classes[other],
            }
        )
    return rows


def _bin_rows(key: tuple[str, str], predictions: Predictions) -> list[dict[str, Any]]:
    rows = []
    for number, one in enumerate(predictions.bins()):
        low, high = (limit / 100 for limit in wilson(one.right, one.images)) if one.images else (None, None)
        rows.append(
            {
                "network": key[0], "view": key[1], "bin": number, "low": one.low, "high": one.high,
                "images": one.images, "confidence": one.confidence, "accuracy": one.accuracy,
                "accuracy_low": low, "accuracy_high": high,
            }
        )  # fmt: skip
    return rows
