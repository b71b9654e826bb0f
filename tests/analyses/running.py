"""An analysis of one network in memory, without a command: its tables by name."""

from contextlib import nullcontext

from resnet_probe.analyses.registry import analysis
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.lazy import named

OF_THE_RUNTIME = ("batch_size", "seed", "device", "folder")


def tables(asked, network, data, *, name, progress=None, **how):
    """What the analysis called `asked` writes; `how` are its parameters and those of the runtime."""
    its = analysis(asked)
    runtime = {key: how.pop(key) for key in OF_THE_RUNTIME if key in how}
    if progress:
        runtime["progress"] = lambda what: nullcontext(progress)
    made = named(its.run)(Subject(name, network, data), its.parameters(**how), Runtime(**runtime))
    return {table.name: table for table in made}
