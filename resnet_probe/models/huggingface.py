"""Networks of Hugging Face's transformers, from a configuration, with random weights; nothing is downloaded."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.factories import suggest

TOKENS = 16  # of an example of text; of audio so many samples that something is left of them
SAMPLES = 4000


def huggingface_model(name: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build a network of transformers with random weights.

    It has an attribute `example`: a batch of two inputs, in a dict where it takes several.

    Args:
        name: a configuration file or the folder that it is in, or a type of model, such as `gpt2`, for its defaults.
        num_classes: of a classifier; the configuration's own by default.
        in_channels: of images, likewise.

    Raises:
        LookupError: transformers is missing or does not know the name.
        ValueError: the configuration describes no network that it can build, or one of other inputs than tokens,
            images or sound.
    """
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        raise LookupError(f"hf:{name} needs the package transformers; install resnet-probe[hf]") from None
    options = {"num_labels": num_classes, "num_channels": in_channels}
    options = {key: value for key, value in options.items() if value is not None}
    try:
        if Path(name).exists():
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=True, **options)
        elif name in (known := list(transformers.models.auto.configuration_auto.CONFIG_MAPPING)):
            config = transformers.AutoConfig.for_model(name, **options)
        else:
            raise LookupError(
                f"transformers has no type of model {name!r}, nor is there such a file{suggest(name, known)}"
            )
        kind = getattr(transformers, (config.architectures or [""])[0], None)
        model: nn.Module = kind(config) if kind else transformers.AutoModel.from_config(config)
    except (OSError, ValueError) as error:
        raise ValueError(f"hf:{name} cannot be built: {str(error).splitlines()[0]}") from error
    model.example = _example(model, config)  # type: ignore[assignment]
    return model


def _example(model: Any, config: Any) -> Tensor | dict[str, Tensor]:
    """Zeros that the network takes, in a batch of 2."""
    main = model.main_input_name
    if main == "pixel_values":
        side = getattr(config, "image_size", 224)
        height, width = side if isinstance(side, (tuple, list)) else (side, side)
        example = torch.zeros(2, getattr(config, "num_channels", 3), height, width)
    elif main == "input_values":
        example = torch.zeros(2, SAMPLES)
    elif main == "input_ids":
        example = torch.zeros(2, TOKENS, dtype=torch.int64)
    else:
        raise ValueError(f"{type(model).__name__} takes {main}; networks of tokens, images or sound can be unraveled")
    if config.is_encoder_decoder and main == "input_ids":
        return {main: example, "decoder_input_ids": example.clone()}
    return example if next(iter(inspect.signature(model.forward).parameters)) == main else {main: example}
