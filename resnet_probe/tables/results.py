"""A result: one tidy table and the settings that made it, kept as CSV and JSON.

- `Result`: the table and its settings; `save` writes `<name>.csv` and `<name>.json`.
- `read`: a saved result, equal to the one that was saved.
- `provenance`: the settings that every result carries: arguments, versions, seed, hashes, time.

Counts of paths have hundreds of digits, so integers stay Python integers from the analysis to the file
and back. Nothing here imports torch, and pandas only where a data frame is asked for.
"""

import csv
import hashlib
import json
import math
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe import __version__
from resnet_probe.files import regular, write_text
from resnet_probe.tables.cells import visible

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, object]

RECORDED_VERSIONS = ("torch", "torchvision", "numpy", "pandas", "matplotlib")

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(nan|inf|[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?)", re.IGNORECASE)
_FORMULA = re.compile(r"'*[=@+\-\t\r]")  # how a text begins that spreadsheets compute, with our quotes before it
_QUOTE = '"'
_MAPPINGS = ("arguments", "versions", "networks", "data_set")  # settings that others look into
_TABLE = "table"  # the key of the JSON file that describes the CSV beside it


@dataclass(frozen=True)
class Result:
    """One tidy table with the settings that made it.

    Args:
        name: file stem; a result `lesion` is kept in `lesion.csv` and `lesion.json`.
        columns: the header, in order.
        rows: one mapping per measurement, with exactly these columns. Cells are None, bool, int, float or
            str; NumPy and torch scalars are turned into these, and control characters in texts spelled out.
        settings: what made the table; anything JSON cannot hold is kept as its text.

    Raises:
        ValueError: a row does not have exactly the columns, a cell is not a single value, or the settings
            have the key "table", which describes the CSV in the JSON file.

    Examples:
        >>> Result("paths", ("length", "count"), ({"length": 0, "count": 2**600},), {}).rows[0]["count"] == 2**600
        True
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        columns = tuple(self.columns)
        if len(set(columns)) < len(columns):
            raise ValueError(f"columns of table {self.name} must differ from each other, not {', '.join(columns)}")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "rows", tuple(_checked(self.name, columns, self.rows)))
        object.__setattr__(self, "settings", _jsonable(self.settings))
        if _TABLE in self.settings:
            raise ValueError(f"settings of table {self.name} must not have the key {_TABLE!r}: it describes the CSV")

    def frame(self) -> "pandas.DataFrame":
        """The table as a data frame, one row per measurement, with the columns in order.

        Integers too large for 64 bits stay exact, in a column of dtype object.
        """
        import pandas  # noqa: PLC0415 - costs 0.3 s, and most callers do without

        return pandas.DataFrame([list(row.values()) for row in self.rows], columns=list(self.columns))

    def with_settings(self, more: Mapping[str, Any]) -> "Result":
        """The same table with more settings; those named again are replaced."""
        return replace(self, settings={**self.settings, **more})

    @property
    def networks(self) -> list[str]:
        """The networks in the table, in its order."""
        return list(dict.fromkeys(str(row["network"]) for row in self.rows if row.get("network") is not None))

    def about(self, network: str) -> dict[str, Any]:
        """What the settings say of one network: what stands under its name, and what holds for the whole table."""
        own = self.settings.get("networks")
        own = own.get(network) if isinstance(own, Mapping) else None
        return {**self.settings, **(own if isinstance(own, Mapping) else {})}

    def of(self, network: str) -> list[dict[str, Any]]:
        """The rows of one network."""
        return [row for row in self.rows if row.get("network") == network]

    def origin(self) -> dict[str, str]:
        """Where the table comes from, in the few words that are written into its figures."""
        settings = self.settings
        known = {
            "command": settings.get("command"),
            "checkpoint_sha256": settings.get("checkpoint_sha256"),
            "version": (settings.get("versions") or {}).get("resnet-probe"),
        }
        return {key: str(value) for key, value in known.items() if value is not None}

    def save(self, folder: Path) -> list[Path]:
        """Write `<name>.csv` and `<name>.json` into a folder, which is made if it is missing.

        The CSV is UTF-8 with a header; floats have the fewest digits that read back to the same value, and
        None is an empty cell. A text that begins with =, +, - or @ stands behind an apostrophe, or spreadsheets would
        run it; `read` takes it away. The same rows give the same bytes. A file appears whole or not at all.

        Returns:
            The paths of the CSV and of the JSON file.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [_line(self.columns), *(_line(row.values()) for row in self.rows)]
        kinds = {column: _kind(row[column] for row in self.rows) for column in self.columns}
        text = "".join(lines)
        about = {"name": self.name, "rows": len(self.rows), "columns": kinds, "sha256": _sha256(text.encode())}
        described = {_TABLE: about, **self.settings}
        files = {
            folder / f"{self.name}.csv": text,
            folder / f"{self.name}.json": json.dumps(described, indent=2, ensure_ascii=False) + "\n",
        }
        for path, content in files.items():
            write_text(path, content)
        return list(files)


def read(folder: Path, name: str) -> Result:
    """A result that `Result.save` wrote.

    The JSON file says which columns hold text. Without it the settings are empty, and a column whose
    filled cells are all numbers is read as numbers.

    Args:
        folder: where `<name>.csv` is.
        name: the name of the result, such as "paths".

    Returns:
        The result; integers exact, empty cells None.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the CSV or the JSON file is not one that this library writes.
    """
    path = Path(folder) / f"{name}.csv"
    try:
        with regular(path).open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file, strict=True))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a table: expected UTF-8 CSV with a header ({error})") from error
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(f"{path}, line {number}: {len(line)} cells, expected the header's {len(header)}")

    settings, kinds = _read_settings(path.with_suffix(".json"))
    cells = {
        column: _parsed([line[index] for line in lines], kinds.get(column), path, column)
        for index, column in enumerate(header)
    }
    rows = tuple({column: cells[column][index] for column in header} for index in range(len(lines)))
    return Result(name, tuple(header), rows, settings)


def altered(path: Path) -> bool:
    """Whether a CSV file is not the one that the settings beside it were written with."""
    try:
        expected = json.loads(regular(path.with_suffix(".json")).read_text(encoding="utf-8"))[_TABLE]["sha256"]
        return bool(expected != _sha256(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False  # nothing says what it was


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def together(results: Iterable[Result]) -> Result:
    """Tables of several networks as one; what the settings say of each stands under its name, in "networks".

    Raises:
        ValueError: there are no tables, or two of them have the same network.
    """
    results = list(results)
    if not results:
        raise ValueError("no tables to put together; give at least one")
    networks: dict[str, Any] = {}
    for result in results:
        about = dict(result.settings)
        each = about.pop("networks", {})
        for name in result.networks:
            if name in networks:
                raise ValueError(f"two networks are called {name!r}; names in one table must differ")
            networks[name] = {**about, **each.get(name, {})}
    rows = tuple(row for result in results for row in result.rows)
    return replace(results[0], rows=rows, settings={"networks": networks})


def provenance(
    *,
    arguments: Mapping[str, Any],
    seed: int | None = None,
    checkpoint_sha256: str | None = None,
    data_fingerprint: str | None = None,
    device: str | None = None,
    command: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The settings that every result carries, so that a table can be traced and made again.

    Args:
        arguments: the options of the analysis, one to one.
        seed: of the random draws, where there are any.
        checkpoint_sha256: hash of the file the weights came from.
        data_fingerprint: hash of the images and labels used.
        device: where it ran, such as "cpu".
        command: the command line, ready to be pasted into a shell.
        more: anything else worth keeping.

    Returns:
        A mapping ready for JSON, with the versions of the packages that matter (read from their metadata;
        nothing is imported), the platform, and the time in UTC.
    """
    versions = {"resnet-probe": __version__, "python": platform.python_version()}
    for package in RECORDED_VERSIONS:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    settings = {
        "command": command,
        "arguments": dict(arguments),
        "seed": seed,
        "checkpoint_sha256": checkpoint_sha256,
        "data_fingerprint": data_fingerprint,
        "device": device,
        **more,
        "versions": versions,
        "platform": platform.platform(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return _jsonable(settings)


def _checked(name: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    for number, row in enumerate(rows):
        if row.keys() != set(columns):
            wrong = ", ".join(sorted(row.keys() ^ set(columns)))
            raise ValueError(f"row {number} of table {name} must have the columns {', '.join(columns)}; see {wrong}")
        yield {column: _plain(row[column], f"row {number}, column {column} of table {name}") for column in columns}


def _plain(value: Any, where: str) -> bool | int | float | str | None:
    if isinstance(value, float):
        return float(value)  # numpy.float64 is a float whose repr is not a number
    if isinstance(value, str):
        return visible(value)
    if value is None or isinstance(value, bool | int):
        return value
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        return value.item()
    raise ValueError(f"{where} is a {type(value).__name__}; a cell is None, a bool, a number or text")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(str(key)): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))  # JSON has no NaN
    if value is None or isinstance(value, bool | int):
        return value
    return visible(str(value))


def _line(cells: Iterable[bool | int | float | str | None]) -> str:
    # Not csv.writer: it leaves a lone carriage return unquoted, which csv.reader takes for the end of the line.
    texts = [_quoted(cell) if isinstance(cell, str) else "" if cell is None else repr(cell) for cell in cells]
    quoted = [f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if set(text) & set(',"\r\n') else text for text in texts]
    return (",".join(quoted) or '""') + "\n"  # an empty line would be no row at all


def _quoted(text: str) -> str:
    """A text as no spreadsheet takes it for a formula; `_unquoted` gives it back."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _unquoted(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _kind(cells: Iterable[Any]) -> str:
    types = {type(cell) for cell in cells if cell is not None}
    if types == {bool}:
        return "boolean"
    if not types:
        return "empty"
    return "number" if types <= {int, float} else "text"


def _parsed(cells: list[str], kind: str | None, path: Path, column: str) -> list[Any]:
    filled = [cell for cell in cells if cell]
    if kind is None and filled:
        if all(cell in ("True", "False") for cell in filled):
            kind = "boolean"
        elif all(_NUMBER.fullmatch(cell) for cell in filled):
            kind = "number"
    parse = {"boolean": {"True": True, "False": False}.__getitem__, "number": _number}.get(kind or "text", _unquoted)
    try:
        return [parse(cell) if cell else None for cell in cells]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: column {column} must hold a {kind} in every cell, not {error}") from error


def _number(cell: str) -> int | float:
    if not _NUMBER.fullmatch(cell):
        raise ValueError(repr(cell))
    return int(cell) if _INTEGER.fullmatch(cell) else float(cell)


def _read_settings(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    if not path.exists():
        return {}, {}
    try:
        settings = json.loads(regular(path).read_text(encoding="utf-8"))
        kinds = settings.pop(_TABLE, {}).get("columns", {})
        inside = [settings.get(key) or {} for key in _MAPPINGS]
        inside += (settings.get("networks") or {}).values()
        if not all(isinstance(each, dict) for each in inside) or not all(
            isinstance(each, str) for each in kinds.values()
        ):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a settings file: expected the JSON that stands beside a table") from error
    return settings, kinds
