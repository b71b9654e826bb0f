"""Networks of transformers: as many blocks as their code has, and deletions as by hand."""

import runpy
from pathlib import Path

import pytest
import torch

from resnet_probe import unravel
from resnet_probe.models import resolve

transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "anatomy.py"))
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in BENCHMARK["TRANSFORMERS"] if name not in ("gpt2", "vit")]

# What to put zeros in the place of, where the name of a block is not that of a module that ends its branch.
ENDS = {
    "bert": {"attention": "attention.output.dropout", "": "output.dropout"},
    "roberta": {"attention": "attention.output.dropout", "": "output.dropout"},
    "opt": {"fc1": "fc2"},
    "t5": {"0": "0.dropout", "1": "1.dropout"},
    "gpt_neox": {"": ("post_attention_dropout", "post_mlp_dropout")},
    "convnext": {},
}


def made(name):
    torch.manual_seed(0)
    model = BENCHMARK["make"]("transformers", name)
    for parameter in model.parameters():  # many begin at 0 or 1
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def first(output):
    return output[0] if not isinstance(output, torch.Tensor) else output


def zeroed(model, paths, given):
    hooks = [model.get_submodule(path).register_forward_hook(_zero) for path in paths]
    try:
        with torch.no_grad():
            return first(model(**given))
    finally:
        for hook in hooks:
            hook.remove()


def _zero(module, inputs, output):
    if isinstance(output, torch.Tensor):
        return torch.zeros_like(output)
    return (torch.zeros_like(output[0]), *output[1:])


def ends(name, block, model):
    parent, _, last = block.rpartition(".")
    known = ENDS.get(name, {})
    if name == "convnext":
        return [f"{block}.drop_path"]
    if last in known:
        return [f"{parent}.{known[last]}"]
    if "" in known:
        return [f"{block}.{end}" for end in ([known[""]] if isinstance(known[""], str) else known[""])]
    return [block]


@pytest.mark.parametrize("name", ["gpt2", "vit", *SLOW])
def test_blocks_are_as_many_as_the_code_has_and_are_deleted_as_by_hand(name):
    model = made(name)
    tokens = torch.randint(0, 100, (5, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[0, -2:] = 0
    if model.main_input_name == "pixel_values":
        cases = [{"pixel_values": torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))}]
    else:
        cases = [{"input_ids": tokens}, {"input_ids": tokens, "attention_mask": mask}]
    for given in cases:
        net = unravel(model, given if len(given) > 1 else next(iter(given.values())))
        assert len(net.blocks) == BENCHMARK["TRANSFORMERS"][name]
        assert len(net.links) == (len(net.blocks) if len(given) == 1 else len(net.links))
        for batch in (1, 2, 5):
            some = {key: value[:batch] for key, value in given.items()}
            x = some if len(given) > 1 else next(iter(some.values()))
            for block in net.blocks:
                with torch.no_grad():
                    found, intact = first(net.delete(block.name)(x)), first(net(x))
                expected = zeroed(model, ends(name, block.name, model), some)
                assert torch.allclose(found, expected, atol=1e-6, rtol=1e-5), (
                    block.name,
                    (found - expected).abs().max(),
                )
                assert not torch.allclose(found, intact)


def test_outputs_keep_their_class():
    model = made("bert")
    tokens = torch.arange(14).reshape(2, 7)
    net = unravel(model, tokens)
    found = net.delete("encoder.layer.0")(tokens)
    assert type(found) is type(model(tokens))
    assert set(found.keys()) == {"last_hidden_state", "pooler_output"}


def test_a_configuration_or_its_folder_names_a_network(tmp_path):
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=100, architectures=["GPT2LMHeadModel"])
    config.save_pretrained(tmp_path)
    for name in (f"hf:{tmp_path}", f"hf:{tmp_path / 'config.json'}"):
        model = resolve(name)
        assert type(model) is transformers.GPT2LMHeadModel
        assert (model.config.n_layer, tuple(model.example.shape), model.example.dtype) == (2, (2, 16), torch.int64)
    with pytest.raises(LookupError, match=r"no type of model 'gpt3'.*did you mean gpt"):
        resolve("hf:gpt3")
