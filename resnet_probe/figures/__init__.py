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

from typing import TYPE_CHECKING

from resnet_probe.lazy import lazily

if TYPE_CHECKING:
    from resnet_probe.figures.colours import FAMILIES as FAMILIES
    from resnet_probe.figures.colours import PALETTE as PALETTE
    from resnet_probe.figures.colours import network_colours as network_colours
    from resnet_probe.figures.colours import noted as noted
    from resnet_probe.figures.colours import remembered as remembered
    from resnet_probe.figures.drawing import GREY as GREY
    from resnet_probe.figures.drawing import INK as INK
    from resnet_probe.figures.drawing import label as label
    from resnet_probe.figures.drawing import new_figure as new_figure
    from resnet_probe.figures.drawing import style as style
    from resnet_probe.figures.legends import legend_above as legend_above
    from resnet_probe.figures.looks import COLUMN_MM as COLUMN_MM
    from resnet_probe.figures.looks import FORMATS as FORMATS
    from resnet_probe.figures.looks import PAGE_MM as PAGE_MM
    from resnet_probe.figures.looks import STYLES as STYLES
    from resnet_probe.figures.looks import VENUES as VENUES
    from resnet_probe.figures.looks import look as look
    from resnet_probe.figures.saving import PNG_DPI as PNG_DPI
    from resnet_probe.figures.saving import save as save

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

# Colours and looks need no matplotlib, so those who want nothing else do not wait for it.
__getattr__, __dir__ = lazily(
    __name__,
    colours=("FAMILIES", "PALETTE", "network_colours", "noted", "remembered"),
    drawing=("GREY", "INK", "label", "new_figure", "style"),
    legends=("legend_above",),
    looks=("COLUMN_MM", "FORMATS", "PAGE_MM", "STYLES", "VENUES", "look"),
    saving=("PNG_DPI", "save"),
)
