"""Docstrings as the code has them, made readable for Markdown; used by mkdocstrings while the pages are built.

- Columns (`tree.py    variants -> a prefix tree`) keep their lines.
- Lines `name: what it is` become the section of arguments, or of a class's attributes.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

COLUMNS = re.compile(r"^\S+ {2,}\S|^\S+\.py \S")
NAMED = re.compile(r"^[a-z_]+: \S")


class HouseStyle(griffe.Extension):
    """Changes the text of docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Called by griffe once for every object."""
        if obj.docstring is not None and not obj.is_alias:
            title = {"class": "Attributes:", "function": "Args:"}.get(obj.kind.value, "")
            obj.docstring.value = rewritten(obj.docstring.value, title)


def rewritten(text: str, title: str) -> str:
    """The text with its columns as code, and its paragraphs of `name: what it is` below `title`, if there is one.

    Examples:
        >>> rewritten("What.\\n\\nname: a word\\n    or two\\n\\nMore.", "Args:")
        'What.\\n\\nArgs:\\n    name: a word\\n        or two\\n\\nMore.'
    """
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        if len(lines) > 1 and all(COLUMNS.match(line) for line in lines):
            paragraph = _indented(lines)  # noqa: PLW2901
        elif title and NAMED.match(lines[0]) and all(NAMED.match(line) or line[:1] == " " for line in lines):
            paragraph = f"{title}\n{_indented(lines)}"  # noqa: PLW2901
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
