"""A small Faster R-CNN, of torchvision's own parts, for images of about 100 pixels."""

from __future__ import annotations

from torch import nn

from .trunks import STAGES, WIDTHS, narrow_resnet18

SIDE = 96  # pixels


def faster_rcnn(arch: str = "fasterrcnn_resnet18_fpn", *, num_classes: int = 91, in_channels: int = 3) -> nn.Module:
    """Build a Faster R-CNN on a ResNet-18 with a feature pyramid, with random weights.

    As torchvision's, it takes a list of images (3, H, W) from 0 to 1 and, in training mode, targets, and returns four
    losses, or boxes, labels and scores. What differs from `fasterrcnn_resnet50_fpn` makes it small: the trunk, all of
    whose layers are trained, with batch norm; 32 channels in the pyramid and 256 in the box head; anchors of half the
    size (16 pixels on the finest map); fewer proposals; the shorter side of an image is brought to 96 pixels.

    Args:
        arch: its only name.
        num_classes: with the background, which is class 0.
        in_channels: 3.

    Raises:
        ValueError: other channels than 3.

    Source: Ren et al. 2015, "Faster R-CNN"; Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
    """
    if in_channels != 3:
        raise ValueError(f"{arch} for {in_channels} input channels; it takes 3, give images in colour")
    from torchvision.models.detection import FasterRCNN, faster_rcnn  # noqa: PLC0415  # seconds
    from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: PLC0415
    from torchvision.models.detection.backbone_utils import BackboneWithFPN  # noqa: PLC0415

    stages = {name: str(number) for number, name in enumerate(STAGES)}
    backbone = BackboneWithFPN(narrow_resnet18(), stages, [*WIDTHS], out_channels=32)
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((16 * 2**level,) for level in range(5)), ((0.5, 1.0, 2.0),) * 5
        ),
        rpn_pre_nms_top_n_train=500, rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_train=200, rpn_post_nms_top_n_test=100,
        rpn_batch_size_per_image=64,
        box_head=faster_rcnn.TwoMLPHead(32 * 7**2, 256),
        box_predictor=faster_rcnn.FastRCNNPredictor(256, num_classes),
        box_batch_size_per_image=32,
        min_size=SIDE, max_size=SIDE * 2,
    )  # fmt: skip
    model.arch, model.num_classes, model.in_channels = arch, num_classes, in_channels
    return model
