"""Recipes: the papers' values, other lengths, the rate at every step, and what cannot be."""

import pytest

from resnet_probe.training import RECIPES, Recipe, TrainingError, recipe_for

PER_EPOCH = 391  # 50,000 images in batches of 128


@pytest.mark.parametrize("name", ["he2015", "he2016", "veit2016"])
def test_the_papers_rates_step_by_step(name):
    """0.1, a tenth of it from 32,000 and a hundredth from 48,000 on, for 64,000 steps; 2016 begins with 400 at 0.01."""
    recipe = recipe_for(name)
    assert recipe.steps(PER_EPOCH) == 64_000
    early = 0.1 if name == "he2015" else 0.01
    expected = {0: early, 399: early, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}
    assert {step: pytest.approx(recipe.rate(step, PER_EPOCH)) for step in expected} == expected
    assert (recipe.momentum, recipe.weight_decay, recipe.batch_size, recipe.pad, recipe.flip) == (
        0.9,
        1e-4,
        128,
        4,
        True,
    )


def test_only_deep_networks_of_2015_warm_up():
    assert recipe_for("he2015", depth=56).warmup_error is None
    deep = recipe_for("he2015", depth=110)
    assert (deep.warmup_rate, deep.warmup_error) == (0.01, 80.0)
    assert recipe_for("he2016", depth=110).warmup_error is None


@pytest.mark.parametrize("name", RECIPES)
def test_another_length_keeps_the_shape(name):
    """The rates of a tenth of the length, at a tenth of the step."""
    whole = recipe_for(name, warmup=0, warmup_rate=None)
    length = {"epochs": whole.epochs / 10} if whole.epochs else {"iterations": whole.iterations // 10}
    short = recipe_for(name, warmup=0, warmup_rate=None, **length)
    steps = whole.steps(1000)
    assert short.steps(1000) == steps // 10
    for share in (0.0, 0.3, 0.55, 0.8):
        assert short.rate(round(share * steps / 10), 1000) == pytest.approx(whole.rate(round(share * steps), 1000))


def test_a_warm_up_of_400_steps_is_the_same_share_of_another_length():
    short = recipe_for("he2016", iterations=1600)
    assert [short.rate(step, 100) for step in (0, 9, 10)] == pytest.approx([0.01, 0.01, 0.1])  # 400 of 64,000
    assert recipe_for("he2016", iterations=1600, warmup=400).rate(399, 100) == pytest.approx(0.01)


def test_milestones_are_in_the_unit_of_the_length():
    by_epochs = recipe_for("he2015", epochs=164, milestones=(82, 123))
    assert by_epochs.rate(82 * PER_EPOCH - 1, PER_EPOCH) == pytest.approx(0.1)
    assert by_epochs.rate(82 * PER_EPOCH, PER_EPOCH) == pytest.approx(0.01)
    assert recipe_for("he2015", epochs=20).milestones == (10.0, 15.0)


def test_a_warm_up_in_steps_and_as_a_share():
    steps = Recipe(iterations=100, learning_rate=1.0, schedule="constant", warmup=10)
    share = Recipe(iterations=100, learning_rate=1.0, schedule="constant", warmup=0.1)
    rates = [steps.rate(step, 10) for step in range(100)]
    assert rates == [share.rate(step, 10) for step in range(100)]
    assert rates[:11] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0])


def test_a_recipe_is_made_again_from_its_values():
    from dataclasses import asdict

    for name in RECIPES:
        recipe = recipe_for(name, seed=3)
        assert Recipe(**asdict(recipe)) == recipe


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("he2017", {}, "unknown recipe 'he2017': give one of he2015, .*; did you mean"),
        ("fast", {"learning": 1}, "a recipe has no 'learning'"),
        ("fast", {"epochs": 0}, "epochs 0: it must be above 0"),
        ("fast", {"epochs": 2, "iterations": 5}, "epochs or as iterations, one of the two"),
        ("fast", {"warmup_error": 80.0}, "needs a warmup_rate"),
        ("fast", {"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs': give one of sgd, adam, adamw"),
        ("fast", {"momentum": 0.0}, "nesterov needs a momentum above 0"),
        ("fast", {"survival": 0.0}, "survival 0.0"),
        ("fast", {"precision": "fp8"}, "unknown precision 'fp8'"),
        ("fast", {"label_smoothing": 1.0}, "label_smoothing 1.0"),
        ("fast", {"accumulate": 0}, "accumulate 0"),
    ],
)
def test_what_cannot_be_is_refused(name, values, message):
    with pytest.raises(TrainingError, match=message):
        recipe_for(name, **values)
