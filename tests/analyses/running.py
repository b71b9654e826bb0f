"""An analysis of one network in memory, without a command: its tables by name."""

from contextlib import nullcontext

from resnet_probe import figures
from resnet_probe.analyses.registry import analysis
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.lazy import named
from resnet_probe.tables import read

OF_THE_RUNTIME = ("batch_size", "seed", "device", "folder")


def drawn_again(plot, table, folder):
    """Width in mm of a figure that is drawn from the CSV file alone, and is the same file as from the table."""
    table.save(folder)
    (folder / f"{table.name}.json").unlink()
    again = plot(read(folder, table.name))
    files = [
        figures.save(figure, folder / name, "figure", ["png"])[0].read_bytes()
        for name, figure in (("a", plot(table)), ("b", again))
    ]
    assert files[0] == files[1]
    return again.get_size_inches()[0] * 25.4


def tables(asked, network, data, *, name, progress=None, **how):
    """What the analysis called `asked` writes; `how` are its parameters and those of the runtime."""
    its = analysis(asked)
    runtime = {key: how.pop(key) for key in OF_THE_RUNTIME if key in how}
    if progress:
        runtime["progress"] = lambda what: nullcontext(progress)
    made = named(its.run)(Subject(name, network, data), its.parameters(**how), Runtime(**runtime))
    return {table.name: table for table in made}
