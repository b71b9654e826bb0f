import pytest

from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import load_data
from resnet_probe.evaluate import Workers
from resnet_probe.unraveled import unravel
from tests.networks import SHAPE, Flat


@pytest.mark.parametrize(
    ("rank", "count", "fresh", "left"),
    [
        (0, 2, True, {"", ".1"}),  # those of processes that are no more; .1 is the other's to renew
        (0, 1, True, {""}),
        (0, 2, False, {"", ".1", ".2"}),
        (1, 2, True, {"", ".1", ".2"}),
    ],
)
def test_a_fresh_start_leaves_no_journals_of_processes_that_are_no_more(tmp_path, rank, count, fresh, left):
    subject = Subject("flat", unravel(Flat(), SHAPE), load_data("digits", limit=10))

    def opened(rank, count, fresh):
        runtime = Runtime(workers=Workers(rank, count), folder=tmp_path, fresh=fresh)
        with runtime.journal(subject, "lesion"):
            pass

    for earlier in range(3):
        opened(earlier, 3, False)
    opened(rank, count, fresh)
    found = {path.name.removeprefix("lesion.journal") for path in tmp_path.iterdir()}
    assert {end for end in found if "-" not in end} == left
