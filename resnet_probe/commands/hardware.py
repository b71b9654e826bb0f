"""What this machine computes with: its devices, and what its processor is slow at."""

import rich_click as click


def pick_device(name: str) -> str:
    """`auto` is the first of CUDA, MPS and CPU that is there.

    Raises:
        click.UsageError: the device does not exist here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise click.UsageError(f"no device {name!r} here; give --device cpu, or auto for the best there is") from error
    return name


def in_software(precision: str, device: str) -> str | None:
    """A note where the processor has no instructions for a precision."""
    import torch

    if precision != "bf16" or device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2":
        return None
    return "note: this processor computes bf16 in software, many times slower than fp32; give --precision fp32"
