import math

import pytest
from scipy.stats import t

from resnet_probe.claims import sizes
from resnet_probe.claims.published import ERRORS, PARAMETERS
from tests.claims.runs import CIFAR, DIGITS, lesions, run, table


def test_a_comparison_speaks_where_nothing_was_inspected():
    compare = table("compare", [{"network": "a", "parameters": 269_434}], networks={"a": {"arch": "resnet20"}})
    exact = table("compare", [{"network": "a", "parameters": 269_722}], networks={"a": {"arch": "resnet20"}})
    inspect = table("inspect", [{"network": "a", "in_shape": "1x8x8"}], arch="resnet20", parameters=269_434)
    assert [found.verdict for found in sizes.parameters(run(compare))] == ["cannot say"]  # of how many channels?
    assert [found.verdict for found in sizes.parameters(run(exact))] == ["holds"]
    (one,) = sizes.parameters(run(compare, inspect))
    assert "1 channel" in one.why


def formula(depth):
    """Weights of He 2015's CIFAR ResNet, layer by layer: convolutions, two numbers per norm, the classifier."""
    n = (depth - 2) // 6
    total, before = 3 * 16 * 9 + 32, 16
    for width in (16, 32, 64):
        for _ in range(n):
            total += (before * width + width * width) * 9 + 4 * width
            before = width
    return total + 64 * 10 + 10


@pytest.mark.parametrize("depth", PARAMETERS)
def test_published_parameters_follow_from_the_definition(depth):
    assert PARAMETERS[depth] == formula(depth)


@pytest.mark.parametrize(
    ("parameters", "shape", "verdict"),
    [(269_722, "3x32x32", "holds"), (270_410, "3x32x32", "does not hold"), (269_434, "1x8x8", "cannot say")],
)
def test_parameters_are_compared_exactly(parameters, shape, verdict):
    (found,) = sizes.parameters(
        run(table("inspect", [{"network": "a", "in_shape": shape}], arch="resnet20", parameters=parameters))
    )
    assert found.verdict == verdict
    assert (found.published_value, found.measured_value) == (269_722, parameters)
    if verdict == "cannot say":
        assert "with 3 channels 269,722" in found.why


@pytest.mark.parametrize("arch", ["resnet20-B", "plain20", "vgg16", "torchvision:resnet50", "resnet26", ""])
def test_networks_that_nothing_is_published_of_are_left_out(arch):
    rows = [{"network": "a", "in_shape": "3x32x32"}]
    found = run(table("inspect", rows, arch=arch, parameters=1), lesions(1, {"x": 2}, arch=arch))
    assert [*sizes.parameters(found), *sizes.errors(found)] == []


def wilson(wrong, images, z=1.959963984540054):
    """The textbook formula, in percent."""
    p = wrong / images
    middle = (p + z * z / (2 * images)) / (1 + z * z / images)
    reach = z * math.sqrt(p * (1 - p) / images + z * z / (4 * images**2)) / (1 + z * z / images)
    return 100 * (middle - reach), 100 * (middle + reach)


@pytest.mark.parametrize(
    ("wrong", "verdict"), [(700, "holds"), (610, "holds"), (754, "cannot say"), (790, "does not hold")]
)
def test_error_on_the_published_images_is_settled_by_its_interval(wrong, verdict):
    (found,) = sizes.errors(run(lesions(wrong, {"x": 900}, images=10_000, arch="resnet56")))
    assert found.verdict == verdict
    low, high = wilson(wrong, 10_000)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (low <= ERRORS[56] <= high) == (wrong == 700)
    # another training: Student's quantile for the 5 runs that the spread of 0.16 was measured on, both trained once
    assert (wrong / 100 > ERRORS[56] + t.ppf(0.975, 4) * 0.16 * math.sqrt(2)) == (verdict == "does not hold")


@pytest.mark.parametrize(
    ("images", "settings", "reason"),
    [
        (1000, CIFAR, "1,000 images of CIFAR-10's 10,000 test images"),
        (355, DIGITS, "355 images of digits"),
        (10_000, {"data_set": {"name": "cifar10", "folder": True}}, "the folder cifar10"),
        (10_000, {"data_set": None, "arguments": {"data": "../shared/cifar10"}}, "the folder cifar10"),
        (10_000, {"data_set": None}, "a data set that the settings do not name"),
        (10_000, {"data_set": {"name": "cifar10", "split": "train", "folder": False}}, "CIFAR-10's train split"),
        (10_000, {"data_set": None, "arguments": {"data": "cifar10", "split": "train"}}, "CIFAR-10's train split"),
    ],
)
def test_error_on_other_images_cannot_say_but_is_told(images, settings, reason):
    (found,) = sizes.errors(run(lesions(70, {"x": 90}, images=images, arch="resnet56", **settings)))
    assert found.verdict == "cannot say"
    assert reason in found.why
    assert f"{100 * 70 / images:.4g} %" in found.why


def test_each_network_is_judged_by_its_own_images():
    rows = [
        {"network": name, "block": "(intact)", "wrong": 875, "images": 10_000, "error": 8.75} for name in ("a", "b")
    ]
    about = {"a": {**DIGITS, "arch": "resnet20"}, "b": {**CIFAR, "arch": "resnet20"}}
    found = {each.network: each for each in sizes.errors(run(table("lesion", rows, networks=about)))}
    assert (found["a"].verdict, found["b"].verdict) == ("cannot say", "holds")
    assert "digits" in found["a"].why


def test_one_network_is_judged_once_from_the_first_table_that_has_it():
    several = table(
        "lesion_multi", [{"network": "net", "deleted": 0, "wrong": 7, "images": 100, "error": 7.0}], arch="resnet20"
    )
    both = run(several, lesions(87, {"x": 90}, arch="resnet20"))
    assert [found.measured_value for found in sizes.errors(both)] == [8.7]
    assert [found.measured_value for found in sizes.errors(run(several))] == [7.0]


def test_random_weights_do_not_refute_a_published_error():
    whole = {**CIFAR, "data_fingerprint": "x"}
    (found,) = sizes.errors(run(lesions(9000, {"a": 9000}, images=10_000, checkpoint_sha256=None, **whole)))
    assert found.verdict == "cannot say"
    assert "random" in found.why
