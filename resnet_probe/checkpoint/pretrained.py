"""Published weights by name: fetched once by the library that publishes them, and kept as a checkpoint of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

from torch import nn

from resnet_probe.checkpoint.loading import save
from resnet_probe.checkpoint.weights import CheckpointError
from resnet_probe.files import whole

_CHUNK = 1 << 20


def fetch(name: str, cache: Path | None = None, notify: Callable[[str], None] = lambda line: None) -> Path:
    """The file with these weights; what was fetched before is used again, without a network.

    Args:
        name: `torchvision:resnet50@IMAGENET1K_V2` (without `@` the best that torchvision has),
            `timm:resnet50.a1_in1k`, `hf-hub:timm/resnet50.a1_in1k`, or an address with the SHA-256 of what is there,
            `https://...#sha256=...`.
        cache: folder to keep it in; the platform's cache folder by default.
        notify: gets one line before anything is fetched.

    Weights of a library are kept with its normalisation, image size and class names. An address is kept as it is, and
    read as any file is: no code in it runs.

    Raises:
        CheckpointError: no such weights, a download that fails, or another SHA-256.
    """
    if cache is None:
        from platformdirs import user_cache_path  # noqa: PLC0415

        cache = user_cache_path("resnet-probe") / "weights"
    if name.startswith("http"):
        return _download(name, cache, notify)
    library, _, its = name.partition(":")
    file = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', its)}.{library}.safetensors"
    if not file.is_file():
        notify(f"{name} is fetched, or taken from the library's cache, to {file}")
        with _told(name, file):
            model, arch, about = (_from_torchvision if library == "torchvision" else _from_timm)(its, library)
        save(file, model, arch=arch, metadata={**about, "source": name})
    return file


@contextmanager
def _told(name: str, file: Path) -> Iterator[None]:
    """One line for whatever keeps weights from being fetched."""
    try:
        yield
    except CheckpointError:
        raise
    except ImportError as error:
        raise CheckpointError(f"{name} needs {error.name}; pip install 'resnet-probe[timm]'") from error
    except Exception as error:  # the libraries raise what urllib, requests and httpx do
        if isinstance(error, HTTPError):
            error.close()
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"cannot fetch {name} ({reason}); with a network try again, without one give a checkpoint FILE, or put "
            f"weights fetched elsewhere at {file}"
        ) from error


def _from_torchvision(its: str, _: str) -> tuple[nn.Module, str, dict[str, Any]]:
    from torchvision import models  # noqa: PLC0415

    name, _, version = its.partition("@")
    if name not in models.list_models(module=models):
        raise CheckpointError(f"torchvision has no classification network {name!r}; give one of torchvision.models")
    known = models.get_model_weights(name)
    if version and version not in known.__members__:
        raise CheckpointError(f"torchvision:{name} has no weights {version!r}; give {', '.join(known.__members__)}")
    weights = known[version] if version else known.DEFAULT  # type: ignore[attr-defined]
    model = models.get_model(name)
    model.load_state_dict(weights.get_state_dict(progress=False, check_hash=True))
    look = weights.transforms()
    about = {"normalize": _normalize(look.mean, look.std), "input_size": look.crop_size[0]}
    return model, f"torchvision:{name}", about | {"classes": weights.meta["categories"]}


def _from_timm(its: str, library: str) -> tuple[nn.Module, str, dict[str, Any]]:
    import timm  # noqa: PLC0415

    model = timm.create_model(f"hf-hub:{its}" if library == "hf-hub" else its, pretrained=True)
    look = cast("dict[str, Any]", model.pretrained_cfg)
    about = {"normalize": _normalize(look["mean"], look["std"]), "input_size": look["input_size"][-1]}
    if look.get("label_names"):
        about["classes"] = list(look["label_names"])
    return model, f"timm:{look['architecture']}", about


def _normalize(mean: Any, std: Any) -> str:
    return ";".join(",".join(f"{value:g}" for value in values) for values in (mean, std))


def _download(address: str, cache: Path, notify: Callable[[str], None]) -> Path:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415
    from urllib.request import urlopen  # noqa: PLC0415

    parts = urlsplit(address)
    digest = re.fullmatch(r"sha256=([0-9a-f]{64})", parts.fragment.lower())
    if digest is None:
        raise CheckpointError(f"{address} has no checksum; add #sha256= and the 64 digits of the file's SHA-256")
    file = cache / digest[1][:16] / (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(unquote(parts.path)).name) or "weights")
    if file.is_file():
        return file
    notify(f"{address} is fetched to {file}")
    with _told(address, file):
        file.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with whole(file) as part:
            with urlopen(parts._replace(fragment="").geturl(), timeout=30) as source, part.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    found.update(chunk)
                    target.write(chunk)
            if found.hexdigest() != digest[1]:
                raise CheckpointError(f"{address} is another file: its SHA-256 is {found.hexdigest()}; check both")
    return file
