"""What a task measures beside the error, with each unit deleted: of detection mean average precision and the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.lesion import INTACT, MEASURES

if TYPE_CHECKING:
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result


def measures(subject: Subject, scores: Mapping[str, Score]) -> list[Result]:
    """Table `lesion_measures`, the intact network first; none for classification, whose table has all there is."""
    from resnet_probe.tasks import Resampled  # noqa: PLC0415 - torch is needed to run, not to plot

    task = subject.task
    if not isinstance(task, Resampled):
        return []
    places: dict[str, int] = {unit.name: i for i, unit in enumerate(subject.network.surgical)}
    rows: list[dict[str, Any]] = []
    for block, score in scores.items():
        whole = {"network": subject.name, "block": block, "index": places.get(block), "images": score.images}
        intact = None if block == INTACT else scores[INTACT]
        rows += [whole | row for row in task.rows(score, intact)]
    return [MEASURES.result(rows)]
