import numpy as np
import pytest
from scipy import stats

from resnet_probe.claims.responses import responses
from tests.claims.runs import run, table


def measured(networks, **settings):
    rows = [
        {"network": name, "layer": f"l{i}", "std": std}
        for name, (_, stds) in networks.items()
        for i, std in enumerate(stds)
    ]
    archs = {name: {"arch": arch} for name, (arch, _) in networks.items()}
    return run(table("responses", rows, networks=archs, **settings))


SMALL, LARGE, BETWEEN = [0.2, 0.3, 0.25, 0.3], [0.9, 1.0, 0.8, 1.1], [0.1, 1.2, 0.3, 0.9]


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
    interval = stats.t.interval(0.95, 6, loc=differences.mean(), scale=stats.sem(differences))
    assert (found.low, found.high) == pytest.approx(interval)
    assert found.verdict == "holds"


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
