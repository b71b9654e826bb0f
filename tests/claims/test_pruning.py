import pytest

from resnet_probe.claims import pruning as rules
from resnet_probe.statistics import spearman
from tests.claims.runs import run, table


def valued(lesions, **settings):
    rows = [
        {"network": "net", "measure": measure, "lesion": lesion * sign, "shapley": float(number)}
        for measure, sign in (("loss", -1), ("accuracy", 1))  # by the loss the order is the reverse
        for number, lesion in enumerate(lesions)
    ]
    return run(table("importance", rows, **settings))


@pytest.mark.parametrize(
    ("lesions", "verdict"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 9, 8], "holds"),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], "does not hold"),
        ([3, 9, 1, 7, 5, 4, 8, 2, 6], "cannot say"),
        ([1, 2, 3, 4], "cannot say"),  # too few blocks
        ([1, 1, 1, 1, 1, 1], "cannot say"),  # no rank
    ],
)
def test_lesions_rank_blocks_as_shapley_values_do(lesions, verdict):
    (found,) = rules.shapley(valued(lesions))
    assert (found.claim, found.verdict) == (24, verdict)
    if len(lesions) == 9:
        assert found.measured_value == spearman(lesions, range(9), 0).spearman


def test_random_weights_say_nothing():
    (found,) = rules.shapley(valued([1, 2, 3, 4, 5, 6], arch="resnet20", checkpoint_sha256=None))
    assert found.verdict == "cannot say"
    assert "random" in found.why


def cut(over=None, trained=(), *, order="lesion_loss", **settings):
    def row(order, removed, ends, kind, healing=None):
        names = (kind, f"{kind}_low", f"{kind}_high")
        empty = dict.fromkeys(("over_greedy", "over_greedy_low", "over_greedy_high", "difference", "difference_low",
                               "difference_high"))  # fmt: skip
        at = {"network": "net", "order": order, "removed": removed, "healing": healing, "images": 1000}
        return at | {"wrong": 80, "error": 8.0} | empty | dict(zip(names, ends or (None,) * 3, strict=True))

    rows = [row("(intact)", 0, None, "difference"), row(order, 2, (90, 80, 99), "over_greedy")]
    rows += [row(order, 3, over, "over_greedy"), row("greedy", 3, None, "over_greedy")]
    rows += [row("greedy", k, ends, "difference", "trained") for k, ends in enumerate(trained, 1)]
    about = {"players": list("abcdefghi"), "same_images": False, "classes": 10}
    return run(table("prune", rows, **(about | settings)))


@pytest.mark.parametrize(
    ("over", "verdict"),
    [((5, 2, 8), "holds"), ((-5, -8, -2), "does not hold"), ((1, -1, 3), "cannot say"), (None, "cannot say")],
)
def test_greedy_beats_one_ranking(over, verdict):
    (found,) = rules.greedy(cut(over))
    assert (found.claim, found.verdict) == (25, verdict)
    (by_error,) = rules.greedy(cut(over, order="lesion"))
    assert by_error.verdict == verdict


@pytest.mark.parametrize("rule", [rules.greedy, rules.healing])
def test_images_that_chose_do_not_judge(rule):
    (found,) = rule(cut((5, 2, 8), [(0, -0.5, 0.5)], same_images=True))
    assert (found.verdict, "chose the blocks too" in found.why) == ("cannot say", True)


def test_fine_tuning_recovers_each_cut_or_not():
    found = list(rules.healing(cut(None, [(0.2, -0.4, 0.8), (5, 3, 7), (1, 0.2, 1.8)])))
    assert [(one.claim, one.verdict) for one in found] == [
        (26, "holds"), (26, "does not hold"), (26, "cannot say")
    ]  # fmt: skip
    assert not list(rules.healing(cut((5, 2, 8))))


def runs_of(halves, blocks=12, **settings):
    """Every run of a made-up network: the later it starts the lower is the loss."""
    row = {"network": "net", "images": 1000, "wrong": 80, "error": 8.0}
    rows = [row | {"length": 0, "start": None, "loss": 0.2}]
    rows += [
        row | {"length": k, "start": start, "loss": 1 - start / 100}
        for k in range(1, blocks + 1)
        for start in range(blocks - k + 1)
    ]
    about = {
        "players": [f"b{i}" for i in range(blocks)],
        "halves": halves,
        "classes": 10,
        "length": max(2, blocks // 4),
    }
    return run(table("prune_runs", rows, **(about | settings)))


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((-5, -8, -2), "holds"),
        ((5, 2, 8), "does not hold"),
        ((1, -1, 3), "cannot say"),
        ((1, None, None), "cannot say"),
    ],
)
def test_late_runs_are_missed_less(ends, verdict):
    other = {"length": 2, "late": 5, "early": 5, "difference": 9, "low": 8, "high": 10}
    mine = {"length": 3, "late": 5, "early": 5, **dict(zip(("difference", "low", "high"), ends, strict=True))}
    (found,) = rules.late(runs_of([other, mine]))
    assert (found.claim, found.verdict) == (27, verdict)
    if ends[1] is not None:
        assert "run 10 of 10 is missed least" in found.why
        (random,) = rules.late(runs_of([other, mine], arch="resnet20", checkpoint_sha256=None))
        assert random.verdict == "cannot say"
    (few,) = rules.late(runs_of([], blocks=2))
    assert few.verdict == "cannot say"
