"""Small networks for tests, one for each way in which people write a `forward`; inputs are (N, 3, 8, 8)."""

import random

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (3, 8, 8)


def conv(inputs=4, outputs=4, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


class Small(nn.Module):
    """A stem, `middle` in between, a classifier; `parts` are attributes that `middle` uses."""

    def __init__(self, **parts):
        super().__init__()
        self.stem = conv(3)
        for name, part in parts.items():
            setattr(self, name, part)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)).mean((2, 3)))


class Flat(Small):
    """Everything in one forward, no module around a block."""

    def __init__(self):
        super().__init__(one=conv(), two=conv(), three=conv())

    def middle(self, x):
        x = x + self.two(F.relu(self.one(x)))
        return x + self.three(x)


class Bare(nn.Module):
    """No sub-modules at all: weights are parameters of the model."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Parameter(torch.randn(4, 3, 3, 3) / 5)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3) / 5)
        self.head = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        x = F.conv2d(x, self.stem, padding=1)
        x = x + F.conv2d(F.relu(x), self.weight, padding=1)
        return F.linear(x.mean((2, 3)), self.head)


class Block(nn.Module):
    """Post-activation block with one in-place ReLU for both activations and an in-place addition."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = conv(), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Blocks(Small):
    def __init__(self):
        super().__init__(blocks=nn.Sequential(Block(), Block()))

    def middle(self, x):
        return self.blocks(x)


class PreBlock(nn.Module):
    """The activation comes before the split, so the shortcut starts after it (He 2016, Fig. 4b with option)."""

    def __init__(self):
        super().__init__()
        self.bn, self.relu, self.conv1, self.conv2 = nn.BatchNorm2d(4), nn.ReLU(inplace=True), conv(), conv()

    def forward(self, x):
        x = self.relu(self.bn(x))
        return x + self.conv2(self.relu(self.conv1(x)))


class PreActivation(Small):
    def __init__(self):
        super().__init__(blocks=nn.Sequential(PreBlock(), PreBlock()))

    def middle(self, x):
        return self.blocks(x)


class InPlace(Small):
    """In-place operations in every way there is; what is overwritten is read again later."""

    def __init__(self, write):
        super().__init__(one=conv(), two=conv(), relu=nn.ReLU(inplace=True))
        self.write = write

    def middle(self, x):
        y = self.write(self, x)
        return x + self.two(self.one(y) + y)


def positional(net, x):
    return F.relu(x, True)


def by_name(net, x):
    return F.relu(x, inplace=True)


def of_torch(net, x):
    return torch.relu_(x)


def method(net, x):
    return x.add_(0.5).mul_(2)


def forgotten_result(net, x):
    net.relu(x)
    x.sub_(0.25)
    return x


def operators(net, x):
    x += 1
    x *= 0.5
    x -= 0.25
    x /= 2
    return x


def of_named_input(net, x):
    return F.leaky_relu(input=x, negative_slope=0.1, inplace=True)


def in_a_leaf(net, x):
    return F.dropout(F.hardtanh(x, -1.0, 1.0, True), 0.5, net.training, True)


IN_PLACE = (positional, by_name, of_torch, method, forgotten_result, operators, of_named_input, in_a_leaf)


class OverwrittenTwice(Small):
    """One in-place ReLU called before two splits: the shortcut of each block is the overwritten value."""

    def __init__(self):
        super().__init__(one=conv(), two=conv(), relu=nn.ReLU(inplace=True))

    def middle(self, x):
        for layer in (self.one, self.two):
            x = x + layer(self.relu(x))
        return x


class ThreeTerms(Small):
    def __init__(self, *, by_sum=False):
        super().__init__(one=conv(), two=conv())
        self.by_sum = by_sum

    def middle(self, x):
        terms = [x, self.one(x), self.two(F.relu(self.one(x)))]
        return sum(terms) if self.by_sum else terms[0] + terms[1] + terms[2]


class Gate(nn.Module):
    """Squeeze and excitation: channels are scaled by a function of themselves."""

    def __init__(self):
        super().__init__()
        self.down, self.up = conv(4, 2, 1), conv(2, 4, 1)

    def forward(self, x):
        scale = F.relu(self.down(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.up(scale))


class GatedBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gate = conv(), Gate()

    def forward(self, x):
        return x + self.gate(self.conv(x))


class Gated(Small):
    """A gate inside a residual branch, and one on the trunk."""

    def __init__(self):
        super().__init__(block=GatedBlock(), gate=Gate())

    def middle(self, x):
        return self.gate(self.block(x))


class Mixed(nn.Module):
    """Parallel branches that are concatenated (GoogLeNet)."""

    def __init__(self):
        super().__init__()
        self.left, self.right = conv(4, 2, 1), nn.Sequential(conv(4, 2, 1), nn.ReLU(), conv(2, 2))

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x)], 1)


class Concatenated(Small):
    def __init__(self):
        super().__init__(mixed=Mixed())

    def middle(self, x):
        return self.mixed(x)


class SharedBlock(Small):
    """The same block is called twice, with the same weights."""

    def __init__(self):
        super().__init__(block=Block())

    def middle(self, x):
        return self.block(self.block(x))


class Projections(nn.Module):
    """Every shortcut is something else."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3)
        self.identity, self.pad = conv(), conv(6, 8)
        self.one, self.three = nn.Sequential(conv(4, 6), nn.ReLU(), conv(6, 6)), conv(6, 6)
        self.shortcut = nn.Identity()
        self.project = nn.Sequential(conv(4, 6, 1), nn.BatchNorm2d(6))
        self.project3 = conv(6, 6)
        self.after3 = conv(6, 6)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.identity(x) + self.shortcut(x)
        x = self.one(x) + self.project(x)
        x = self.after3(F.relu(self.three(x))) + self.project3(x)
        x = self.pad(x) + F.pad(x, (0, 0, 0, 0, 1, 1))
        x = x + F.dropout(self.shortcut(x), 0.5, self.training)
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """A vision transformer: class token, position embedding, sizes taken from the input."""

    def __init__(self, blocks=2):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.drop = nn.Dropout(0.5)
        self.layers = nn.Sequential(*(TokenBlock() for _ in range(blocks)))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        n, _, h, w = x.shape
        torch._assert(h == w, "images must be square")
        x = self.patch(x).reshape(n, 8, (h // 4) * (w // 4)).permute(0, 2, 1)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        x = self.layers(self.drop(x + self.position))
        return self.head(x[:, 0])


class TokenBlock(nn.Module):
    """Attention and MLP: two residual blocks in one module."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.Dropout(0.5))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class TokensFirst(nn.Module):
    """A transformer that keeps its tokens, not its batch, in the first dimension."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.one, self.two = nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.embed(x.flatten(2).permute(2, 0, 1))
        x = x + self.one(x, x, x, need_weights=False)[0]
        x = x + self.two(x, x, x, need_weights=False)[0]
        return self.head(x.mean(0))


class Positions(Small):
    """Position features made from sizes and read by every block; they carry no data."""

    def __init__(self):
        super().__init__(one=conv(), two=conv(), embed=nn.Linear(1, 4))

    def middle(self, x):
        where = torch.arange(x.shape[2], dtype=torch.float32)[:, None]
        where = torch.sigmoid(self.embed(where)).t()[None, :, :, None]
        x = x + self.one(x + where)
        return x + self.two(x * where) * torch.ones_like(x)


class BatchSizes(Small):
    """Every block reshapes with the batch size that was read at the very beginning."""

    def __init__(self):
        super().__init__(one=nn.Linear(64, 64), two=nn.Linear(64, 64))

    def forward(self, x):
        n = x.shape[0]
        x = self.stem(x)
        x = x + self.one(x.reshape(n * 4, 64)).view(n, 4, 8, 8)
        x = x + self.two(x.view(2 * n, 2, 64)).reshape(n, 4, 8, 8)
        return self.head(x.mean((2, 3)))


class Buffers(Small):
    """Tensors of all sorts that are not parameters."""

    def __init__(self):
        super().__init__(one=conv())
        self.register_buffer("mean", torch.rand(1, 4, 1, 1))
        self.register_buffer("quiet", torch.rand(1, 4, 1, 1), persistent=False)
        self.plain = torch.rand(1, 4, 1, 1)

    def middle(self, x):
        x = (x - self.mean) * self.quiet + self.plain + torch.tensor([0.5])
        return x + self.one(x)


class Bypassed(Small):
    """Two blocks, and a way around both of them (Lim et al. 2017, the body of EDSR)."""

    def __init__(self):
        super().__init__(one=conv(), two=conv(), last=conv())

    def middle(self, x, gone=()):
        y = x
        for name in ("one", "two"):
            if name not in gone:
                y = y + F.relu(getattr(self, name)(y))
        return x + self.last(y)


class Plain(nn.Sequential):
    """Layers one after the other, as VGG."""

    def __init__(self):
        super().__init__(
            *(conv(3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(conv(4, 6, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), conv(6, 5), nn.ReLU(inplace=True)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 5)),
        )


class Random(nn.Module):
    """A random program over tensors of one shape; every value but the last may be read by several later ones."""

    def __init__(self, seed, steps=9):
        super().__init__()
        draw = random.Random(seed)
        self.program, count = [], 1
        layers = []
        for _ in range(steps):
            kind = draw.choice(["conv", "conv", "add", "add", "relu", "relu_", "add_", "gate", "cat"])
            recent = draw.choices(range(count), weights=[1 + 2 * i for i in range(count)], k=2)
            if kind in ("conv", "cat"):
                layers.append(conv(3 if kind == "conv" else 6, 3, 1))
            self.program.append((kind, *recent, len(layers) - 1))
            count += 1
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        values = [x * 0.5]
        for kind, a, b, layer in self.program:
            left, right = values[a], values[b]
            match kind:
                case "conv":
                    value = self.layers[layer](left)
                case "cat":
                    value = self.layers[layer](torch.cat([left, right], 1))
                case "gate":
                    value = left * torch.sigmoid(right)
                case "relu":
                    value = torch.relu(left)
                case "relu_":
                    value = left.relu_()
                case "add":
                    value = left + right
                case "add_":
                    value = left.add_(right)
            values.append(value)
        return values[-1] + values[-2]


MADE = {
    "flat": Flat,
    "bare": Bare,
    "blocks": Blocks,
    "pre-activation": PreActivation,
    **{f"in place, {write.__name__}": lambda write=write: InPlace(write) for write in IN_PLACE},
    "overwritten twice": OverwrittenTwice,
    "three terms": ThreeTerms,
    "three terms by sum": lambda: ThreeTerms(by_sum=True),
    "gated": Gated,
    "concatenated": Concatenated,
    "shared block": SharedBlock,
    "projections": Projections,
    "tokens": Tokens,
    "tokens first": TokensFirst,
    "positions": Positions,
    "batch sizes": BatchSizes,
    "buffers": Buffers,
    "plain": Plain,
}


def make(name):
    """A network of `MADE` with seeded weights and batch statistics as after training, in evaluation mode."""
    return trained(MADE[name]) if isinstance(name, str) else trained(name)


def trained(factory, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = factory().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def images(count=3, shape=SHAPE, seed=1):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))
