"""How many residual blocks are found in networks of timm, torchvision and transformers, beside how many they have.

    python benchmarks/anatomy.py > anatomy.csv          # a small member of every model module: a quarter of an hour
    python benchmarks/anatomy.py --only hrnet_w18_small dla34

Expected numbers were counted in the models' code: modules that add their input, times the additions in one `forward`.
An addition around further blocks is a bypass and counted apart. Networks have no weights (meta device); where a model
cannot be built so, it has random ones. Columns: blocks and bypasses found and expected, sums of other kinds with their
reasons, modules that were not opened with their parameters, seconds of tracing and classifying, and the error where
there was one.
"""

from __future__ import annotations

import argparse
import csv
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from resnet_probe.anatomy import Anatomy, dissect

SECONDS = 120

# Blocks, or blocks and bypasses. Depths are written as in the models' code.
TIMM: dict[str, int | tuple[int, int]] = {
    "beit_base_patch16_224": 2 * 12,
    "botnet26t_256": 4 * 2,
    "cait_xxs24_224": 2 * (24 + 2) - 1,  # the first attention adds to the class token, which is no data
    "coat_tiny": 4 * 2 * 3 + 6 * (3 + 3 + 3),  # position encoding, attention, MLP; the latter at three sizes
    "convit_tiny": 2 * 12,
    "convmixer_768_32": 32,
    "convnext_atto": 2 + 2 + 6 + 2,
    "cpubone_nano": 9,
    "crossvit_9_240": 3 * (2 * (1 + 3) + 2),  # two branches, and the cross attention of each
    "cs3darknet_s": 1 + 2 + 5 + 1,
    "csatv2": (14 * 2 + 4 * 2, 14 * 2 + 4),  # attention holds a position encoding, a block a transformer
    "cspnext_tiny": 3,  # not in the last stage
    "davit_tiny": 2 * 4 * (1 + 1 + 3 + 1),
    "deepseek_vit_412m": 2 * 32,
    "deit_tiny_patch16_224": 2 * 12,
    "densenet121": 0,
    "dla34": 2 + 4 + 4 + 2,
    "dpn48b": 3 + 4 + 6 + 3,
    "edgenext_xx_small": (2 + 2 + 6 + 2, 3),  # attention inside three of the blocks
    "efficientformer_l1": 2 * (3 + 2 + 6 + 4),
    "efficientformerv2_s0": 2 + 2 + 6 + 4 + 2 + 2 + 1,  # attention in the last two of a stage, and when it shrinks
    "efficientnet_b0": 16 - 7,
    "efficientvim_m1": 4 * (2 + 2 + 2) + 2 * 2,
    "efficientvit_b0": 1 + 1 + 1 + 2 * 2 + 2 * 2,
    "efficientvit_m0": 5 * (1 + 2 + 3) + 2 * 4,
    "ese_vovnet19b_slim_dw": 0,
    "eva02_tiny_patch14_224": 2 * 12,
    "fasternet_t0": 1 + 2 + 8 + 2,
    "fastvit_t8": 2 * (2 + 2 + 4 + 2),
    "focalnet_tiny_srf": 2 * (2 + 2 + 6 + 2),
    "gcvit_xxtiny": 2 * (2 + 2 + 6 + 2) + 11,  # and fused convolutions
    "gemma4_vit_167m": 2 * 16,
    "gernet_s": 1 + 3 + 6 + 4,
    "ghostnet_050": 16,
    "hardcorenas_a": 5,
    "hgnetv2_b0": 1,
    "hiera_tiny_224": 2 * 12,
    "hrnet_w18_small": 1 + 2 * 2 + 3 * 2 + 4 * 2 + 4,
    "iformer_t": 26,
    "inception_next_atto": 2 + 2 + 6 + 2,
    "inception_resnet_v2": 10 + 20 + 10,
    "inception_v3": 0,
    "inception_v4": 0,
    "coatnet_nano_rw_224": 3 + 4 + 2 * 6 + 2 * 3,
    "lcnetv2_small": 1,
    "legacy_seresnet18": 8,
    "legacy_xception": 12,
    "levit_128s": 2 * (2 + 3 + 4) + 2,
    "lowformer_b0": 21,
    "mixer_s32_224": 2 * 8,
    "mobilenetv3_small_050": 7,
    "mobilenetv5_300m": 80,
    "mobilevit_xxs": 1 + 2 + 2 * (2 + 4 + 3),
    "mvitv2_tiny": 2 * 10,
    "naflexvit_base_patch16_gap": 2 * 12,
    "nasnetalarge": 0,
    "nest_tiny": 2 * (2 + 2 + 8),
    "nextvit_small": 2 * (3 + 3 + 4 * 2 + 2) + 3 * (1 + 2 + 1),
    "nf_ecaresnet26": 2 + 2 + 2 + 2,
    "pit_ti_224": 2 * (2 + 6 + 4),
    "pnasnet5large": 0,
    "poolformer_s12": 2 * 12,
    "pvt_v2_b0": 2 * 8,
    "qwen3_vit_88m": 2 * 12,
    "rdnet_tiny": 0,
    "regnetx_002": 1 + 1 + 4 + 7,
    "repghostnet_050": 16,
    "repvit_m0_9": 2 * (2 + 2 + 14 + 2) + 3 * 3,
    "res2net50_14w_8s": 3 + 4 + 6 + 3,
    "resnest14d": 1 + 1 + 1 + 1,
    "resnet18": 8,
    "resnetv2_50": 3 + 4 + 6 + 3,
    "rexnet_100": 11,
    "sam2_hiera_tiny": 2 * (1 + 2 + 7 + 2),
    "samvit_base_patch16_224": 2 * 12,
    "selecsls42": 0,
    "sequencer2d_s": 2 * (4 + 3 + 8 + 3),
    "shvit_s1": 2 * 2 + 3 * 4 + 3 * 5 + 2 * 4,
    "skresnet18": 8,
    "starnet_s050": 1 + 1 + 3 + 1,
    "swiftformer_xs": (3 + 3 + 6 + 4 + 2 * 4, 4),  # additive attention adds its queries, inside a block
    "swin_tiny_patch4_window7_224": 2 * 12,
    "swinv2_cr_tiny_224": 2 * 12,
    "swinv2_tiny_window8_256": 2 * 12,
    "test_mambaout": 1 + 1 + 3 + 1,
    "test_vit": 2 * 6,
    "test_vit_relpos": 2 * 9,
    "tiny_vit_5m_224": 2 + 2 * 10,
    "tnt_s_patch16_224": 4 * 12,
    "tresnet_m": 3 + 4 + 11 + 3,
    "twins_svt_small": 2 * (2 + 2 + 10 + 4) + 4,
    "vgg11": 0,
    "visformer_tiny": 7 + 2 * 4 + 2 * 4,
    "vit_tiny_r_s16_p8_224": 2 * 12,
    "vitamin_small_224": 2 + 4 + 2 * 14,
    "volo_d1_224": 2 * (4 + 4 + 8 + 2) + 2 * 2,
    "xception41": 12,
    "xcit_nano_12_p16_224": 3 * 12 + 2 * 2,
}
TORCHVISION: dict[str, int | tuple[int, int]] = {
    "alexnet": 0,
    "convnext_tiny": 3 + 3 + 9 + 3,
    "densenet121": 0,
    "efficientnet_b0": 16 - 7,
    "efficientnet_v2_s": 40 - 5,
    "googlenet": 0,
    "inception_v3": 0,
    "maxvit_t": 5 * (2 + 2 + 5 + 2),
    "mnasnet0_5": 10,
    "mobilenet_v2": 10,
    "mobilenet_v3_small": 11 - 5,
    "regnet_y_400mf": 1 + 3 + 6 + 6,
    "resnet18": 8,
    "resnet50": 3 + 4 + 6 + 3,
    "resnext50_32x4d": 3 + 4 + 6 + 3,
    "shufflenet_v2_x0_5": 0,
    "squeezenet1_1": 0,
    "swin_t": 2 * 12,
    "swin_v2_t": 2 * 12,
    "vgg11": 0,
    "vit_b_32": 2 * 12,
    "wide_resnet50_2": 3 + 4 + 6 + 3,
    "deeplabv3_resnet50": 3 + 4 + 6 + 3,
    "fcn_resnet50": 3 + 4 + 6 + 3,
    "lraspp_mobilenet_v3_large": 10,
    "mc3_18": 8,
    "mvit_v1_b": 2 * 16,
    "r2plus1d_18": 8,
    "r3d_18": 8,
    "s3d": 0,
    "swin3d_t": 2 * 12,
}
# Small configurations with random weights; transformers is an extra package, as timm is.
TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TEXT = {**TOKENS, "vocab_size": 100, "max_position_embeddings": 64}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0},
    ),
    "bert": ("BertModel", TEXT),
    "roberta": ("RobertaForSequenceClassification", TEXT),
    "distilbert": ("DistilBertModel", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 100}),
    "opt": ("OPTForCausalLM", {**TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "gpt_neox": ("GPTNeoXForCausalLM", TEXT),
    "llama": ("LlamaForCausalLM", TEXT),
    "t5": (
        "T5EncoderModel",
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 100},
    ),
    "vit": ("ViTForImageClassification", {**TOKENS, "image_size": 32, "patch_size": 8}),
    "convnext": (
        "ConvNextForImageClassification",
        {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 2, 1], "image_size": 32},
    ),
}
TRANSFORMERS: dict[str, int | tuple[int, int]] = {
    **dict.fromkeys(("gpt2", "bert", "roberta", "distilbert", "opt", "llama", "t5", "vit"), 2 * 2),
    "gpt_neox": 2,  # attention and MLP side by side: one block a layer
    "convnext": 1 + 1 + 2 + 1,
}
SHAPES = {
    **dict.fromkeys(("mc3_18", "r2plus1d_18", "r3d_18"), (3, 8, 64, 64)),
    **{"mvit_v1_b": (3, 16, 224, 224), "s3d": (3, 16, 224, 224), "swin3d_t": (3, 8, 64, 64)},
    **{"inception_v3": (3, 299, 299), "swin_v2_t": (3, 256, 256)},
}
COLUMNS = ("source", "network", "blocks", "expected", "bypasses", "expected_bypasses", "refused", "unopened")
COLUMNS += ("way", "device", "seconds", "error")


class _TooLongError(BaseException):
    """Not an `Exception`, which a tracer may catch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    writer = csv.DictWriter(sys.stdout, COLUMNS, restval="")
    writer.writeheader()
    for source, table in (("timm", TIMM), ("torchvision", TORCHVISION), ("transformers", TRANSFORMERS)):
        for name, expected in table.items():
            if not given.only or name in given.only:
                blocks, bypasses = expected if isinstance(expected, tuple) else (expected, 0)
                row = {"source": source, "network": name, "expected": blocks, "expected_bypasses": bypasses}
                writer.writerow(row | measure(source, name))
                sys.stdout.flush()


def measure(source: str, name: str) -> dict[str, Any]:
    """What is found in one network, or why nothing is."""
    try:
        with limit(SECONDS):
            try:
                with torch.device("meta"):
                    return count(source, name) | {"device": "meta"}
            except NotImplementedError:  # values are needed while the model is made
                return count(source, name) | {"device": "cpu"}
    except _TooLongError:
        return {"error": f"more than {SECONDS} s"}
    except Exception as error:
        return {"error": str(error).splitlines()[0]}


def count(source: str, name: str) -> dict[str, Any]:
    model = make(source, name)
    example = inputs(source, name, model)
    began = time.perf_counter()
    anatomy = dissect(model, example)
    seconds = time.perf_counter() - began
    blocks, bypasses = numbers(anatomy)
    refused = Counter(each.reason for each in anatomy.sums.values() if each.reason)
    return {
        "blocks": blocks,
        "bypasses": bypasses,
        "refused": "; ".join(f"{number} {reason}" for reason, number in refused.most_common()),
        "unopened": "; ".join(f"{path} {size}" for path, size in anatomy.unopened.items()),
        "way": anatomy.traced.way,
        "seconds": f"{seconds:.1f}",
    }


def make(source: str, name: str) -> nn.Module:
    """A network with random weights, in evaluation mode."""
    if source == "timm":
        return timm.create_model(name).eval()
    if source == "transformers":
        import transformers

        kind, options = CONFIGURATIONS[name]
        made = getattr(transformers, kind)
        return made(made.config_class(**options)).eval()
    return torchvision.models.get_model(name, weights=None, **WITHOUT_BACKBONE.get(name, {})).eval()


def inputs(source: str, name: str, model: nn.Module) -> Any:
    """The shape of an image, or tokens."""
    if source == "transformers":
        images = model.main_input_name == "pixel_values"
        return (3, 32, 32) if images else torch.arange(14).reshape(2, 7)
    return model.default_cfg["input_size"] if source == "timm" else SHAPES.get(name, (3, 224, 224))


WITHOUT_BACKBONE = {
    name: {"weights_backbone": None} for name in ("deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large")
}


def numbers(anatomy: Anatomy) -> tuple[int, int]:
    """Residual blocks, and bypasses around such."""
    found = [each for each in anatomy.sums.values() if each.block is not None]
    return sum(not each.holds for each in found), sum(bool(each.holds) for each in found)


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    main()
