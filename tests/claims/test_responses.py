import numpy as np
import pytest
import torch
from scipy import stats

from resnet_probe.claims.responses import responses
from tests.claims.runs import run, table


def measured(networks, error=0.01, **settings):
    rows = [
        {"network": name, "layer": f"l{i}", "std": std, "std_error": error}
        for name, (_, stds) in networks.items()
        for i, std in enumerate(stds)
    ]
    archs = {name: {"arch": arch} for name, (arch, _) in networks.items()}
    return run(table("responses", rows, networks=archs, **settings))


SMALL, LARGE, BETWEEN = [0.2, 0.3, 0.25, 0.3], [0.9, 1.0, 0.8, 1.1], [0.1, 1.2, 0.3, 0.83]


@pytest.mark.parametrize(
    ("residual", "plain", "verdict"),
    [(SMALL, LARGE, "holds"), (LARGE, SMALL, "does not hold"), (BETWEEN, [0.5, 0.6, 0.7, 0.6], "cannot say")],
)
def test_resnet_against_plain(residual, plain, verdict):
    (found,) = responses(measured({"p": ("plain20", plain), "r": ("resnet20", residual)}))
    assert (found.claim, found.network, found.verdict) == (4, "r against p", verdict)
    assert found.measured_value == pytest.approx(sum(residual) / 4 - sum(plain) / 4)


def test_layers_are_compared_at_equal_relative_depth():
    """Both fall with depth; the residual network lies 0.1 below the other everywhere, which pooling would not show."""
    plain = {"p": ("resnet20", [2.0, 1.5, 1.0, 0.5]), "r": ("resnet56", [1.9, 1.66, 1.39, 1.15, 0.9, 0.66, 0.39])}
    (found,) = responses(measured(plain))
    differences = np.array(plain["r"][1]) - np.interp(np.linspace(0, 1, 7), np.linspace(0, 1, 4), plain["p"][1])
    interval = stats.norm.interval(0.95, loc=differences.mean(), scale=0.01 + 0.01)
    assert (found.low, found.high) == pytest.approx(interval)
    assert found.verdict == "holds"


@pytest.mark.parametrize("error", [None, float("nan")])
def test_without_standard_errors_it_cannot_say(error):
    (found,) = responses(measured({"p": ("plain20", LARGE), "r": ("resnet20", SMALL)}, error=error))
    assert (found.verdict, "nan" in found.why) == ("cannot say", False)


def test_the_interval_holds_the_truth_and_equal_networks_are_not_told_apart():
    """Two networks of four layers each; an image's strength moves all layers, and both networks, together."""
    from resnet_probe.probes import ImageMoments

    def table_of(images, scale, generator):
        strength = torch.rand((images, 1), generator=generator) + 0.5
        rows = []
        for layer in range(1, 5):
            values = scale * layer * strength * torch.randn((images, 64), generator=generator) + 0.3
            found = ImageMoments().finish(ImageMoments().reduce(None, values))
            rows.append({"layer": f"l{layer}", "std": found.std, "std_error": found.std_error})
        return rows

    generator = torch.Generator().manual_seed(0)
    truth = 2.5 * np.sqrt(13 / 12) * (1.0 - 1.1)  # mean layer times the root of E strength^2
    covered = wrong = 0
    for _ in range(200):
        rows = [
            {"network": name, **row}
            for name, scale in (("r", 1.0), ("p", 1.1), ("q", 1.0))
            for row in table_of(50, scale, generator)
        ]
        archs = {"r": {"arch": "resnet20"}, "p": {"arch": "plain20"}, "q": {"arch": "plain20"}}
        apart, equal = responses(run(table("responses", rows, networks=archs)))
        covered += apart.low <= truth <= apart.high
        wrong += equal.verdict != "cannot say"
    assert covered >= 190
    assert wrong <= 10


def test_deeper_against_shallower_of_the_same_kind():
    networks = {"a": ("resnet20", LARGE), "b": ("resnet56", SMALL), "c": ("resnet56-B", SMALL)}
    (found,) = responses(measured(networks))
    assert (found.network, found.verdict) == ("b against a", "holds")


def test_what_cannot_be_compared_cannot_say():
    (alone,) = responses(measured({"a": ("resnet20", LARGE), "v": ("vgg16", SMALL), "p": ("plain32", SMALL)}))
    assert alone.verdict == "cannot say"
    (other,) = responses(measured({"a": ("resnet20", LARGE), "b": ("resnet56", SMALL)}, data_fingerprint="x, y"))
    assert other.verdict == "cannot say"
    assert list(responses(measured({"v": ("vgg16", SMALL)}))) == []


def test_an_untrained_network_is_not_compared_with_a_trained_one():
    found = measured({"p": ("plain20", LARGE), "r": ("resnet20", SMALL)})
    found.tables[0].result.settings["networks"]["r"]["checkpoint_sha256"] = "ab" * 32
    assert next(responses(found)).verdict == "holds"
    found.tables[0].result.settings["networks"]["p"]["checkpoint_sha256"] = None
    (answer,) = responses(found)
    assert answer.verdict == "cannot say"
    assert "weights of p are random" in answer.why
