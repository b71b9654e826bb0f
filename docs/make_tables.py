"""Write into the pages what the declarations of the analyses say: columns, options, and the list in the README.

    python docs/make_tables.py

Between `<!-- columns: NAME -->`, `<!-- options: NAME -->`, `<!-- questions -->` or `<!-- methods -->` and
`<!-- end -->` stands what this script has written. A test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from resnet_probe.analyses.declaration import options_of
from resnet_probe.analyses.registry import analyses, analysis, claims, tables
from resnet_probe.statistics import METHODS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"<!-- (columns|options|questions|methods)(?:: ([\w-]+))? -->\n.*?<!-- end -->", re.DOTALL)
TYPES = {str: "text", int: "integer", float: "number", bool: "True or False"}


def columns(name: str) -> str:
    """The columns of a table."""
    lines = [f"| column of `{name}.csv` | type | meaning |", "|---|---|---|"]
    for column in tables()[name].columns:
        unit = f" ({column.unit})" if column.unit else ""
        lines.append(f"| `{column.key}` | {TYPES[column.type]} | {column.meaning}{unit} |")
    return "\n".join(lines)


def options(name: str) -> str:
    """The options of an analysis that are its own."""
    lines = [f"| option of `{name}` | meaning | default |", "|---|---|---|"]
    for key, (option, _, default) in options_of(analysis(name).parameters).items():
        flag = option.flag or f"--{key.replace('_', '-')}"
        values = "|".join(option.choices) or option.metavar
        usual = option.shown or ("" if default in (None, False, ()) else option.write(default))
        shown = f"`{flag} {values}`".replace(" `", "`").replace("|", "\\|")
        lines.append(f"| {shown} | {option.help} | {usual} |")
    return "\n".join(lines)


def questions() -> str:
    """The questions that tables answer, with the command and the source."""
    lines = ["| question | command | source |", "|---|---|---|"]
    for each in analyses().values():
        for table in each.tables:
            if table.question:
                lines.append(f"| {table.question} | `{table.command or each.name}` | {table.source} |")
    return "\n".join(lines)


def methods() -> str:
    """How intervals and tests are made, and where they stand."""
    lines = ["| number | where | method | assumes |", "|---|---|---|---|"]
    for key, method in METHODS.items():
        columns: dict[str, list[str]] = {}
        for table in tables().values():
            for column in table.columns:
                if column.method == key:
                    columns.setdefault(f"`{column.key}`", []).append(f"`{table.name}`")
        where = [f"{column} of {', '.join(names)}" for column, names in columns.items()]
        if settings := [f"`{table.name}`" for table in tables().values() if key in table.methods]:
            where.append(f"the settings of {', '.join(settings)}")
        if judged := [str(number) for number, each in claims().items() if key in each[0].methods]:
            where.append(f"claim{'s' if len(judged) > 1 else ''} {', '.join(judged)}")
        lines.append(f"| {method.of} | {'; '.join(where)} | {method.how} | {method.assumes} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """A page with every block written anew."""

    def block(found: re.Match[str]) -> str:
        kind, name = found.group(1), found.group(2)
        whole = {"questions": questions, "methods": methods}
        text = whole[kind]() if kind in whole else {"columns": columns, "options": options}[kind](name)
        head = f"<!-- {kind}: {name} -->" if name else f"<!-- {kind} -->"
        return f"{head}\n{text}\n<!-- end -->"

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = written(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
