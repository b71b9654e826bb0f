"""Tables: what an analysis writes, and the folders that tables stand in. Nothing here imports torch.

results.py   one tidy table with the settings that made it, as CSV and JSON
formats.py   the same table for a paper or another program: LaTeX, Markdown, Parquet
cells.py     values as people read them
runs.py      run folders: every table in them, what is broken, what is unfinished
"""

from resnet_probe.tables.results import Result, altered, provenance, read, together
from resnet_probe.tables.runs import Run, SavedTable, Unfinished, read_run

__all__ = ["Result", "Run", "SavedTable", "Unfinished", "altered", "provenance", "read", "read_run", "together"]
