"""One look for every figure, and saving with provenance.

- `look`: a context that says where figures will be shown: style, width, venue.
- `style`: a context in which figures are made; nothing of it remains afterwards.
- `new_figure`: a figure as wide as a column or a page of a paper.
- `legend_above`: a legend in as many columns as fit.
- `network_colours`, `label`: colour, line and marker of each network, and its name as text.
- `remembered`, `noted`: the colours of networks that were drawn before, and all of them, for a table's settings.
- `save`: PDF, SVG and PNG that say where they come from and are the same bytes every time.

Figures are drawn without pyplot, so no window system, no global list of figures and no LaTeX are needed.
The font is the one that comes with matplotlib: a figure looks the same on every machine.
"""

from resnet_probe.colours import FAMILIES, PALETTE, network_colours, noted, remembered
from resnet_probe.figures.drawing import GREY, INK, label, new_figure, style
from resnet_probe.figures.legends import legend_above
from resnet_probe.figures.looks import COLUMN_MM, PAGE_MM, STYLES, VENUES, look
from resnet_probe.figures.saving import FORMATS, PNG_DPI, save

__all__ = [
    "COLUMN_MM",
    "FAMILIES",
    "FORMATS",
    "GREY",
    "INK",
    "PAGE_MM",
    "PALETTE",
    "PNG_DPI",
    "STYLES",
    "VENUES",
    "label",
    "legend_above",
    "look",
    "network_colours",
    "new_figure",
    "noted",
    "remembered",
    "save",
    "style",
]
