"""The analyses in the order of the report: title, question, source, and the command that makes the table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXPECTED", "SECTIONS", "Section", "section"]


@dataclass(frozen=True)
class Section:
    """How an analysis is presented.

    Attributes:
        title: heading.
        question: what it asks, in one sentence.
        source: paper and figure; empty for what no paper has.
        command: words after `resnet-probe` that make the table, without network, images and folder.
        blocks: whether it needs residual blocks.
    """

    title: str
    question: str
    source: str = ""
    command: str = ""
    blocks: bool = False


# Name of a table -> its section, in the order of the report.
SECTIONS: dict[str, Section] = {
    "compare": Section("Comparison", "How do the networks differ in size, cost and error?", "", "compare"),
    "zoo": Section("Networks of the papers", "What do the published networks cost?", "", "compare --zoo"),
    "lesion": Section(
        "Deleting one unit", "What happens to the error when one unit is deleted?", "Veit et al. 2016, Fig. 3", "lesion"
    ),
    "lesion_multi": Section(
        "Deleting several blocks",
        "How does the error rise with the number of deleted blocks?",
        "Veit et al. 2016, Fig. 5a",
        "lesion --multi 1:20",
        blocks=True,
    ),
    "lesion_multi_summary": Section("Means and intervals", ""),
    "lesion_pairs": Section("Deleting pairs", "Do blocks depend on each other?", "", "lesion --pairs", blocks=True),
    "reorder": Section(
        "Changing the order",
        "How does the error rise as blocks change places?",
        "Veit et al. 2016, Fig. 5b",
        "reorder",
        blocks=True,
    ),
    "paths": Section(
        "Paths", "How many paths of each length lead through the network?", "Veit et al. 2016, Fig. 6a", "paths"
    ),
    "gradients": Section(
        "Gradient by path length",
        "Which paths carry the gradient?",
        "Veit et al. 2016, Figs. 6b and 6c",
        "paths --data",
        blocks=True,
    ),
    "survival": Section("Surviving paths", "Which paths does a deletion leave?", "Veit et al. 2016, section 4.1"),
    "responses": Section(
        "Layer responses", "How strongly does each layer respond?", "He et al. 2015, Fig. 7", "responses"
    ),
    "iterative": Section(
        "Iterative inference",
        "What does each block do to its input and to the loss?",
        "Jastrzebski et al. 2018; Greff et al. 2017",
        "iterative",
        blocks=True,
    ),
    "iterative_ranks": Section("What predicts the damage", "Which measure tells beforehand what a deletion will do?"),
    "responses_channels": Section("Responses by channel", ""),
    "grid": Section("Trained grid", "What errors do the trained networks reach?", "He et al. 2015, Fig. 6", "grid"),
    "grid_summary": Section("Means over seeds", ""),
    "curves": Section("Training curves", "How do the errors fall during training?", "He et al. 2015, Figs. 1 and 6"),
    "inspect": Section("Units", "What is the network made of?", "", "inspect"),
}

# Tables that a full study of one network has.
EXPECTED = ("inspect", "lesion", "lesion_multi", "reorder", "paths", "gradients", "responses", "iterative")


def section(name: str) -> Section:
    """The section of a table; of one that is not known, a plain one."""
    return SECTIONS.get(name) or Section(name.replace("_", " ").capitalize(), "")
