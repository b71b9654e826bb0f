"""Small networks with batch norm statistics and affine weights away from their initial values."""

import torch
import torchvision
from torch import nn

from resnet_probe.data import Data
from resnet_probe.models import resolve
from resnet_probe.unraveled import unravel


class InvertedResiduals(nn.Module):
    """MobileNet's blocks, two with and one without a shortcut."""

    def __init__(self):
        super().__init__()
        block = torchvision.models.mobilenetv2.InvertedResidual
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), block(6, 6, 1, 2), block(6, 8, 2, 2), block(8, 8, 1, 2)
        )
        self.classifier = nn.Linear(8, 10)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Squeezed(nn.Module):
    """Three residual blocks that share one convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + torch.tanh(self.shared(x))
        x = x + torch.tanh(self.shared(x))
        return self.head(x.mean((2, 3)))


def transformer():
    return torchvision.models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=10
    )


def timm_network():
    import timm

    return timm.create_model("resnetv2_18", num_classes=10, layers=(1, 1, 1, 1), channels=(8, 8, 16, 16), stem_chs=8)


MADE = {
    "mobilenet": InvertedResiduals,
    "transformer": transformer,
    "timm": timm_network,
    "shared": Squeezed,
}
ARCHS = ("resnet8-w4", "resnet8-B-w4", "resnet8-C-w4", "resnet8-preact-w4", "resnet11-bottleneck-w4", "vgg11-w4")
NETWORKS = (*ARCHS, *MADE)


def model_of(name, seed=0, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MADE[name]() if name in MADE else resolve(name)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.5, 0.5)
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 2)
            elif isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=0.4)
    return model.eval().to(dtype)


def network_of(name, seed=0, dtype=torch.float32):
    return unravel(model_of(name, seed, dtype), (3, 8, 8))


def batch(number=3, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((number, 3, 8, 8), generator=generator, dtype=dtype)
    return images, torch.randint(10, (number,), generator=generator)


def data_of(number=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (number, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (number,), generator=generator)
    return Data("noise", "test", images, labels, tuple("abcdefghij"), "imagenet")
