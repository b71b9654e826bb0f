"""What an analysis is, declared once; the command, the study, the report, the claims and the docs are derived from it.

    ANALYSIS = Analysis(
        "lesion", help="Delete each block and measure the error.", parameters=Parameters,
        run="resnet_probe.analyses.lesion.single:run", tables=(LESION,), ...
    )

- `Analysis`: name, question, source, parameters, what it needs, what runs it, its tables, its part in a study.
- `Table`: name, columns, plots, facts, claims. `Column`, `Plot`, `Claim`: its parts.
- `option`: a field of a dataclass of parameters, and the option of the command line that sets it.
- `Fact`: one thing that a table says. `StudyStep`: a part of a study.

Nothing here needs torch or click. Functions are named, as `module:function`, and imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from resnet_probe.tables import Result


@dataclass(frozen=True)
class Option:
    """How a parameter is set on the command line.

    Attributes:
        help: what it does, in a sentence.
        flag: its name, where that is not the parameter's: `--no-timing`.
        metavar: what stands for the value in the help.
        least: the smallest whole number allowed.
        choices: the only values allowed.
        parse: the value of a text; raises ValueError with what is allowed.
        write: the text of a value, the inverse of `parse`.
        shown: the default as the help shows it, where the value itself says too little.
        needs: other options, one of which must be given for this one to have an effect; `data` is --data, `ckpts` and
            `arch` are networks.
        least_ckpts: how many checkpoints must be given for this one to have an effect.
    """

    help: str
    flag: str = ""
    metavar: str = ""
    least: int | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    write: Callable[[Any], str] = str
    shown: str = ""
    needs: tuple[str, ...] = ()
    least_ckpts: int = 0

    def called(self, parameter: str) -> str:
        """Its name on the command line."""
        return self.flag or f"--{parameter.replace('_', '-')}"


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass of parameters; `more` as the attributes of `Option`."""
    return field(default=default, metadata={"option": Option(help, **more)})


def options_of(parameters: type) -> dict[str, tuple[Option, Any, Any]]:
    """Name of each parameter -> its option, its type and its default, in the order of the dataclass."""
    types = get_type_hints(parameters)
    return {each.name: (each.metadata["option"], types[each.name], each.default) for each in fields(parameters)}


@dataclass(frozen=True)
class NoParameters:
    """The parameters of an analysis that has none."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: its name in the CSV file.
        type: of its values; any of them may be missing.
        meaning: in a few words, for the documentation.
        unit: of its values.
        heading: in a report, where the key does not say it.
        method: key of `statistics.METHODS`: how an interval or a test is made.
    """

    key: str
    type: type = float
    meaning: str = ""
    unit: str = ""
    heading: str = ""
    method: str = ""

    @property
    def title(self) -> str:
        """Heading with unit."""
        words = self.heading or self.key.replace("_", " ")
        return f"{words}, {self.unit}" if self.unit else words


@dataclass(frozen=True)
class Plot:
    """A figure that is drawn from tables alone.

    Attributes:
        name: stem of its files.
        draw: `module:function`, from the table that it belongs to, and the tables of `takes`, to the figure.
        takes: names of further tables in the same folder; one that is not there is None.
    """

    name: str
    draw: str
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A published statement, and what judges it.

    Attributes:
        number: of the claim, in the order in which they are told.
        statement: what the paper says, in a sentence.
        published: the published value in words.
        source: paper, section, figure.
        rule: `module:function`, from a `tables.Run` to verdicts. Claims may share a rule.
        needs: what has to be run for a table that speaks to it; by default the table's command.
        methods: keys of `statistics.METHODS`: how its intervals and tests are made.
    """

    number: int
    statement: str
    published: str
    source: str
    rule: str
    needs: str = ""
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One thing that a table says of a network, as the terminal, the report and the claims read it.

    Attributes:
        label: a noun: what it is. Unique among the facts of a table and a network.
        text: value, interval and what else there is to say, in words.
        value: the number itself, where it is one.
        low, high: its 95 % interval, where there is one.
        unit: of these numbers.
    """

    label: str
    text: str
    value: float | int | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Spread:
    """What can be averaged over several trainings of one network.

    Attributes:
        position: columns that say where a row stands, such as block and index.
        measures: columns to average; the first one is drawn.
    """

    position: tuple[str, ...]
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table that an analysis writes.

    Attributes:
        name: stem of its files.
        title: heading in a report.
        columns: in their order.
        question: that it answers, in a sentence.
        source: paper and figure, where there is one.
        command: words after the program's name that make it, without network and images; by default the
            analysis's name.
        plots: its figures.
        facts: `module:function`, from the table and a network to what it says of it.
        headline: label of the fact that a summary tells; by default the first one.
        claims: that it speaks to.
        parent: name of the table in whose section it stands.
        blocks: whether only a network with residual blocks has it.
        listed: whether a report lists its rows.
        printed: columns that the command prints as a table.
        paper: columns of the table in LaTeX and Markdown, where they are not those that are printed, or all.
        spread: what of it is averaged over checkpoints of one architecture, see `analyses.seeds`.
        methods: of intervals and tests that stand in its settings, beside those of its columns.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    question: str = ""
    source: str = ""
    command: str = ""
    plots: tuple[Plot, ...] = ()
    facts: str = ""
    headline: str = ""
    claims: tuple[Claim, ...] = ()
    parent: str = ""
    blocks: bool = False
    listed: bool = True
    printed: tuple[str, ...] = ()
    paper: tuple[str, ...] = ()
    spread: Spread | None = None
    methods: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The header of the CSV file."""
        return tuple(column.key for column in self.columns)

    def result(self, rows: Iterable[Mapping[str, Any]], **settings: Any) -> Result:
        """The table with these rows; `settings` are what is worth keeping beside them."""
        return Result(self.name, self.keys, tuple(map(dict, rows)), settings)


@dataclass(frozen=True)
class Needs:
    """What an analysis needs.

    Attributes:
        images: labelled images; `optional` where only a part of it does.
        blocks: residual blocks.
        sweep: many variants of a network, evaluated in one shared pass; each shard that is finished is kept.
        batches: images in batches of a size that can be chosen.
        together: all networks at once, instead of one after the other.
        side_by_side: untrained networks beside checkpoints, each with its own normalisation.
        twins: on demand, beside each checkpoint, its network with random weights.
        tasks: whether other tasks than classification can be asked of the network.
    """

    images: Literal["none", "optional", "all"] = "all"
    blocks: bool = False
    sweep: bool = False
    batches: bool = False
    together: bool = False
    side_by_side: bool = False
    twins: bool = False
    tasks: bool = False


@dataclass(frozen=True)
class BuildsOn:
    """An analysis that is run first, on the same networks, with parameters of the same name.

    Attributes:
        analysis: its name.
        optional: whether a network that it cannot measure is left out instead of ending the run.
        images: whether it measures on the images, where it can do without.
    """

    analysis: str
    optional: bool = False
    images: bool = True


@dataclass(frozen=True)
class Amount:
    """How much a study measures.

    Attributes:
        limit: images; None for all of them.
        draws: random sets and orders of each size.
        swaps: most swaps of blocks.
        samples: sampled paths of each length.
        images: for gradients, which cost most.
        batches: that are timed; 0 for no times.
        searches: whether sets of blocks are searched for, step by step.
    """

    limit: int | None = None
    draws: int = 20
    swaps: int = 10
    samples: int = 200
    images: int = 200
    batches: int = 20
    searches: bool = True


@dataclass(frozen=True)
class Census:
    """What a study knows of its network when it plans a step.

    Attributes:
        blocks: residual blocks.
        keeping: those of them that keep the shape of their input.
        compared: whether there is a network to compare with.
        lesions: the table of single deletions, once it is measured.
        training: whether there are training images beside those that are measured on.
        convolutional: whether the network has 3x3 convolutions.
    """

    blocks: int
    keeping: int
    compared: bool
    lesions: Path
    training: bool = False
    convolutional: bool = True


@dataclass(frozen=True)
class StudyStep:
    """A part of a study: an analysis with the parameters that it is run with.

    Attributes:
        title: what it does; may name `{network}`.
        table: that is there when it is done.
        parameters: the values that are not defaults, or None where the step is left out.
        few: whether it measures on the few images for gradients.
        images: whether it measures on images at all, where the analysis can do without.
    """

    title: str
    table: str
    parameters: Callable[[Amount, Census], Mapping[str, Any] | None] = lambda amount, census: {}
    few: bool = False
    images: bool = True


@dataclass(frozen=True)
class Analysis:
    """A question about trained networks, and all that is needed to ask it.

    Attributes:
        name: of the command and of its folder of results.
        help: what the command does, in one line.
        description: the rest of its help.
        parameters: a dataclass whose fields are made by `option`. With a property `alone` that names what is measured
            where the parameters say it all, no network is loaded.
        needs: what must be there.
        run: `module:function`, from a `Subject` (all of them, if it needs them together; None where the parameters
            stand alone), the parameters and a `Runtime` to tables.
        check: `module:function`, from a `Subject` and the parameters: raises ValueError where they do not go together,
            before any image is measured.
        tables: that it writes.
        builds_on: analyses that are run first; their tables stand in `Runtime.tables`.
        study: its part in a study.
        also: `module:function`, from subjects, parameters, folder and formats to the paths of further files.
        command: `module:command`, where it has a command of its own.
    """

    name: str
    help: str
    tables: tuple[Table, ...]
    description: str = ""
    parameters: type = NoParameters
    needs: Needs = Needs()
    run: str = ""
    check: str = ""
    builds_on: tuple[BuildsOn, ...] = ()
    study: tuple[StudyStep, ...] = ()
    also: str = ""
    command: str = ""

    @property
    def options(self) -> dict[str, tuple[Option, Any, Any]]:
        """Name of each parameter -> its option, its type and its default."""
        return options_of(self.parameters)

    def table(self, name: str) -> Table:
        """The table of that name.

        Raises:
            LookupError: there is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise LookupError(f"{self.name} has no table {name!r}; it has {', '.join(t.name for t in self.tables)}")
