import itertools

import pytest

from resnet_probe import figures
from resnet_probe.analyses import paths
from resnet_probe.tables import read
from resnet_probe.unraveled import unravel
from tests.gradients.networks import network_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8-w4", "resnet8-B-w4", "resnet8-preact-w4", "mobilenet", "transformer"])
def test_chains_with_deleted_blocks_count_as_the_network_that_is_left(name):
    network = network_of(name)
    names = [unit.name for unit in network.blocks]
    for number in range(len(names) + 1):
        for gone in itertools.combinations(names, number):
            left = network.delete(*gone)
            found = paths.chain_polynomials(left)
            again = unravel(left.to_module(), (3, 8, 8)).units  # traced again, without any memory of the blocks
            assert paths.multiply(found["module"]) == paths.multiply(unit.plan.module_polynomial for unit in again)
            assert paths.multiply(found["layer"]) == paths.multiply(unit.plan.layer_polynomial for unit in again)


def test_deleted_layers_are_on_no_path():
    network = network_of("vgg11-w4")
    left = paths.chain_polynomials(network.delete("features.0"))
    assert paths.multiply(left["layer"]) == (0,) * 8 + (1,)
    assert paths.multiply(left["module"]) == (1,)


def survival(network, gone):
    before, after = paths.chain_polynomials(network), paths.chain_polynomials(network.delete(*gone))
    return paths.run_survival(before, after, name="x", blocks=len(network.blocks), deleted=len(gone))


def test_survivors_by_length_are_what_the_formula_says(tmp_path):
    result = survival(network_of("resnet14-w4"), ["layer1.1", "layer3.0"])
    modules = [row for row in result.rows if row["unit"] == "module"]
    assert [row["count"] for row in modules] == [1, 6, 15, 20, 15, 6, 1]
    assert [row["surviving"] for row in modules] == [1, 4, 6, 4, 1, 0, 0]
    assert [row["share"] for row in modules] == pytest.approx([row["expected"] for row in modules])
    assert all(row["expected"] is None for row in result.rows if row["unit"] == "layer")
    assert sum(row["surviving"] for row in result.rows if row["unit"] == "layer") == 16
    result.save(tmp_path)
    assert read(tmp_path, "survival").rows == result.rows


def test_figure_draws_what_survives_and_the_formula(tmp_path):
    result = survival(network_of("resnet8-w4"), ["layer1.0"])
    (axis,) = paths.plot_survival(result).axes
    counted, formula = axis.get_lines()
    assert counted.get_ydata() == pytest.approx([100, 200 / 3, 100 / 3, 0])
    assert formula.get_ydata() == pytest.approx(counted.get_ydata())
    assert "1 of 3 blocks deleted" in counted.get_label()
    figures.save(paths.plot_survival(result), tmp_path, "survival", ["png"])
