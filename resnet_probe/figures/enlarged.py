"""PDF files whose pages are so many times larger than the figures on them.

In a module of its own, since matplotlib's PDF writer takes a quarter of a second to import.
"""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import Op, PdfFile, PdfPages


class EnlargedPages(PdfPages):
    """Makes `savefig` write into such a file."""

    def __init__(self, path: Path, scale: float, metadata: dict[str, Any]) -> None:
        super().__init__(path, metadata=metadata)
        self._file = _EnlargedFile(path, scale, metadata)


class _EnlargedFile(PdfFile):
    def __init__(self, path: Path, scale: float, metadata: dict[str, Any]) -> None:
        super().__init__(path, metadata=metadata)
        self._scale = scale

    def newPage(self, width: float, height: float) -> None:  # noqa: N802 - matplotlib's name
        super().newPage(self._scale * width, self._scale * height)
        self.output(self._scale, 0, 0, self._scale, 0, 0, Op.concat_matrix)
