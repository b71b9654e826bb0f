import copy
import json

import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.checkpoint import CheckpointError
from resnet_probe.models import resolve
from resnet_probe.surgery import export
from resnet_probe.unraveled import unravel
from tests.networks import images, trained

SHAPE = (3, 8, 8)


def run(model):
    with torch.no_grad():
        return model(images(4, SHAPE))


def written(folder, arch="resnet14-w3", **metadata):
    """A checkpoint in our own format, loaded, and its chain."""
    model = trained(lambda: resolve(arch))
    path = checkpoint.save(folder / f"{arch}.safetensors", model, arch=arch, metadata={"input_size": 8, **metadata})
    loaded = checkpoint.load(path)
    return loaded, unravel(loaded.model, SHAPE)


EDITS = {
    "nothing": [],
    "delete": [{"delete": ["layer1.1"]}],
    "delete the projection's branch": [{"delete": ["layer2.0", "layer3.0"]}],
    "delete a layer": [{"delete": ["conv1"]}],
    "scale": [{"scale": {"layer1.0": 0.3, "layer3.1": -2}}],
    "reorder": [{"reorder": ["layer1.1", "layer1.0"]}],
    "all": [{"delete": ["layer1.0"]}, {"scale": {"layer1.1": 0.7}}, {"reorder": ["layer1.1", "layer1.0"]}],
}


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet14-w3", "resnet14-w3-B"])
@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_the_file_loads_again_with_the_same_outputs_bit_for_bit(tmp_path, arch, edits):
    source, net = written(tmp_path, arch)
    before = copy.deepcopy(source.model.state_dict())
    edited = net.edit(edits)
    result = export(source, net, edits, tmp_path / "edited.safetensors")
    again = checkpoint.load(result.weights)
    assert torch.equal(run(again.model), run(edited))
    assert not edits or not torch.equal(run(edited), run(source.model))
    assert again.model.state_dict().keys() == edited.to_module().state_dict().keys()
    assert (again.arch, again.input_size, again.num_classes, again.in_channels) == (arch, 8, 10, 3)
    assert result.parameters_before == sum(p.numel() for p in source.model.parameters())
    assert result.parameters_after == sum(p.numel() for p in again.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.model.state_dict().items())


def test_the_first_layer_of_a_network_for_grey_images_can_be_deleted(tmp_path):
    """Then no weight is left that says how many channels an image has."""
    model = trained(lambda: resolve("resnet14-w3", in_channels=1, num_classes=7))
    path = checkpoint.save(tmp_path / "grey.safetensors", model, arch="resnet14-w3", metadata={"input_size": 8})
    source = checkpoint.load(path)
    net = unravel(source.model, (1, 8, 8))
    again = checkpoint.load(export(source, net, [{"delete": ["conv1"]}], tmp_path / "edited").weights)
    assert (again.in_channels, again.num_classes) == (1, 7)
    with torch.no_grad():
        assert torch.equal(again.model(images(4, (1, 8, 8))), net.delete("conv1")(images(4, (1, 8, 8))))


def test_weights_that_nothing_uses_are_not_in_the_file(tmp_path):
    source, net = written(tmp_path)
    result = export(source, net, [{"delete": ["layer2.1"]}], tmp_path / "edited.safetensors")
    from safetensors import safe_open

    with safe_open(result.weights, "pt") as file:
        names = set(file.keys())
    assert names == {name for name in source.model.state_dict() if not name.startswith("layer2.1.")}
    assert result.parameters_before - result.parameters_after == sum(
        parameter.numel() for parameter in source.model.layer2[1].parameters()
    )


def test_the_recipe_says_what_was_done_to_what(tmp_path):
    source, net = written(tmp_path, normalize="digits", data="digits", recipe={"epochs": 3}, error=2.5)
    edits = [{"delete": ["layer2.1"]}, {"scale": {"layer1.0": 0.5}}]
    result = export(source, net, edits, tmp_path / "edited.safetensors")
    assert result.recipe == tmp_path / "edited.recipe.json"
    assert json.loads(result.recipe.read_text(encoding="utf-8")) == {
        "arch": "resnet14-w3",
        "edits": edits,
        "source": {"name": "resnet14-w3", "sha256": source.sha256},
        "input_shape": [3, 8, 8],
        "parameters": {"before": result.parameters_before, "after": result.parameters_after},
    }
    metadata = checkpoint.load(result.weights).metadata
    assert {key: metadata[key] for key in ("normalize", "data", "recipe", "edits", "input_size")} == {
        **{"normalize": "digits", "data": "digits", "recipe": {"epochs": 3}, "edits": edits, "input_size": 8}
    }
    assert "error" not in metadata  # it was the other network's


def test_the_same_edit_gives_the_same_bytes(tmp_path):
    source, net = written(tmp_path)
    files = [export(source, net, [{"delete": ["layer1.0"]}], tmp_path / f"{name}.safetensors") for name in "ab"]
    assert files[0].weights.read_bytes() == files[1].weights.read_bytes()
    assert files[0].recipe.read_bytes() == files[1].recipe.read_bytes()


@pytest.mark.parametrize(("given", "name"), [("x", "x.safetensors"), ("x.pt", "x.pt.safetensors")])
def test_the_ending_says_what_the_file_is(tmp_path, given, name):
    source, net = written(tmp_path)
    result = export(source, net, [{"delete": ["layer1.0"]}], tmp_path / given)
    assert result.weights == tmp_path / name
    assert result.recipe == tmp_path / f"{name.removesuffix('.safetensors')}.recipe.json"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


# -- surgery on what was edited before --------------------------------------------------------------------------------

SECOND = {
    "delete": [{"delete": ["layer3.1"]}],
    "scale what was scaled": [{"scale": {"layer1.0": 0.7}}],
    "reorder what was reordered": [{"reorder": ["layer1.0", "layer1.1"]}],
    "all": [{"scale": {"layer3.0": 0.9}}, {"delete": ["layer2.1"]}, {"reorder": ["layer1.0", "layer1.1"]}],
}


@pytest.mark.slow
@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND)
def test_a_second_surgery_goes_on_where_the_first_ended(tmp_path, second):
    source, net = written(tmp_path, "resnet14-w3-B")
    first = [{"delete": ["layer2.0"]}, {"scale": {"layer1.0": 0.3}}, {"reorder": ["layer1.1", "layer1.0"]}]
    edited = checkpoint.load(export(source, net, first, tmp_path / "first.safetensors").weights)
    result = export(edited, edited.chain, second, tmp_path / "second.safetensors")
    again = checkpoint.load(result.weights)
    assert torch.equal(run(again.model), run(net.edit([*first, *second])))
    assert torch.equal(run(again.model), run(again.chain))
    assert not torch.equal(run(again.model), run(edited.model))
    recipe = json.loads(result.recipe.read_text(encoding="utf-8"))
    assert recipe["edits"] == [*first, *second]
    assert recipe["source"] == {"name": "first", "sha256": edited.sha256}
    assert set(again.model.state_dict()) <= set(edited.model.state_dict())


def transformer():
    """For `file.py:factory`: two blocks in each module."""
    from tests.networks import Tokens

    return Tokens()


def test_blocks_of_one_module_are_still_told_apart_the_second_time(tmp_path):
    """With the attention gone, its module holds one block; what is deleted next must be that one."""
    arch = "tests.test_surgery:transformer"
    model = trained(transformer)
    path = checkpoint.save(tmp_path / "vit.safetensors", model, arch=arch, metadata={"input_size": 8})
    source = checkpoint.load(path, arch=arch)
    net = unravel(source.model, SHAPE)
    first, second = [{"delete": ["layers.0.attention"]}], [{"delete": ["layers.0.mlp"]}]
    edited = checkpoint.load(export(source, net, first, tmp_path / "first").weights, arch=arch)
    assert "layers.0.mlp" in [unit.name for unit in unravel(edited.model, SHAPE).blocks]
    again = checkpoint.load(export(edited, edited.chain, second, tmp_path / "second").weights, arch=arch)
    assert torch.equal(run(again.model), run(net.delete("layers.0.attention", "layers.0.mlp")))


def test_what_was_deleted_cannot_be_edited_again(tmp_path):
    source, net = written(tmp_path)
    edited = checkpoint.load(export(source, net, [{"delete": ["layer1.0"]}], tmp_path / "first").weights)
    for edit in ({"delete": ["layer1.0"]}, {"scale": {"layer1.0": 2}}, {"reorder": ["layer1.1", "layer1.0"]}):
        with pytest.raises(ValueError, match=r"layer1.0 was deleted from first before; `resnet-probe inspect` lists"):
            export(edited, edited.chain, [edit], tmp_path / "second")
    assert not (tmp_path / "second.safetensors").exists()


def test_an_edited_checkpoint_is_edited_along_its_own_chain(tmp_path):
    source, net = written(tmp_path)
    edited = checkpoint.load(export(source, net, [{"delete": ["layer1.0"]}], tmp_path / "first").weights)
    assert source.chain is None
    with pytest.raises(ValueError, match="first was edited before, and its edits name the units of its chain"):
        export(edited, unravel(edited.model, SHAPE), [{"delete": ["layer1.1"]}], tmp_path / "second")


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edits", "kind", "message"),
    [
        ([{"delete": ["layer9.1"]}], LookupError, "no block or layer named 'layer9.1': did you mean"),
        ([{"scale": {"conv1": 1}}], ValueError, "conv1 is no residual block"),
        ([{"reorder": ["layer3.1", "layer1.1"]}], ValueError, "cannot stand in the place of layer1.1"),
        ([{"add": ["layer3.1"]}], ValueError, "unknown edit"),
    ],
)
def test_an_edit_that_is_not_possible_writes_nothing(tmp_path, edits, kind, message):
    source, net = written(tmp_path)
    with pytest.raises(kind, match=message):
        export(source, net, edits, tmp_path / "edited.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["resnet14-w3.safetensors"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    source, net = written(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write .*file/x.safetensors"):
        export(source, net, [{"delete": ["layer1.0"]}], tmp_path / "file" / "x")


def test_a_recipe_that_no_longer_fits_its_network_is_refused(tmp_path):
    model = trained(lambda: resolve("resnet14-w3"))
    metadata = {"edits": [{"delete": ["layer7.0"]}], "input_shape": [3, 8, 8]}
    path = checkpoint.save(tmp_path / "x.safetensors", model, arch="resnet14-w3", metadata=metadata)
    with pytest.raises(CheckpointError, match=r"x.safetensors holds an edit that cannot be made again: no block or"):
        checkpoint.load(path)
