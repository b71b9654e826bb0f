"""What the papers printed, as literal data: the numbers and statements that a run is tested against.

Numbers marked `computed` in their source follow from a definition in the paper; thresholds marked `ours` are readings
of words such as "almost nothing", for which the paper gives no number.
"""

from __future__ import annotations

from dataclasses import dataclass

HE_2015 = "He et al. 2015 (arXiv 1512.03385)"
HE_2016 = "He et al. 2016 (arXiv 1603.05027)"
VEIT = "Veit et al. 2016 (arXiv 1605.06431)"
JASTRZEBSKI = "Jastrzebski et al. 2018"


@dataclass(frozen=True)
class Variant:
    """A published test error in percent; None where the paper says that training failed."""

    arch: str
    what: str
    error: float | None
    source: str


# Depth -> parameters, option A shortcuts, 10 classes, colour images. Source: computed from He et al. 2015, section 4.2.
PARAMETERS: dict[int, int] = {
    20: 269_722,
    32: 464_154,
    44: 658_586,
    56: 853_018,
    110: 1_727_962,
    1202: 19_421_274,
}

# Depth -> test error in percent on CIFAR-10. Source: He et al. 2015, Table 6 (110: mean of 5 runs, standard deviation
# 0.16, best 6.43).
ERRORS: dict[int, float] = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61, 1202: 7.93}

PUBLISHED_RUNS: dict[int, int] = {110: 5}  # the other depths were trained once
SPREAD, SPREAD_RUNS = 0.16, 5  # standard deviation of ResNet-110's test error over that many runs, in points

TEST_IMAGES = 10_000  # of CIFAR-10
TRAINING_ITERATIONS = 64_000  # He et al. 2015, section 4.2; batches of 128
LONG_ENOUGH = 0.95  # ours: share of these iterations that counts as the published training
# Claim 5. The published errors are medians of 5 runs; ours: differences up to so many points count as a replication.
MEDIAN_OF, PRECISE = 5, 0.5
FAILS = 20.0  # percent; He et al. 2016, Table 1: "fail" is an error above 20 %

# Source: He et al. 2016, Tables 1 and 2 (median of 5 runs), CIFAR-10. None is "fail".
_TABLE_1: tuple[tuple[str, str, float | None], ...] = (
    ("resnet110", "original, identity shortcuts", 6.61),
    ("plain110", "constant scaling, shortcut 0 and branch 1", None),
    ("resnet110-h0.5", "constant scaling, shortcut 0.5 and branch 1", None),
    ("resnet110-h0.5-f0.5", "constant scaling, shortcut 0.5 and branch 0.5", 12.35),
    *((f"resnet110-gate{bias}", f"exclusive gating, bias {-bias}", None) for bias in range(6)),
    ("resnet110-gate6", "exclusive gating, bias -6", 8.70),
    ("resnet110-shortgate0", "shortcut-only gating, bias 0", 12.86),
    ("resnet110-shortgate6", "shortcut-only gating, bias -6", 6.91),
    ("resnet110-C", "1x1 convolution on every shortcut", 12.22),
    ("resnet110-dropout0.5", "dropout 0.5 on every shortcut", None),
)
_TABLE_2: tuple[tuple[str, str, float, float], ...] = (
    ("", "original", 6.61, 5.93),
    ("-bnafter", "BN after addition", 8.17, 6.50),
    ("-relubefore", "ReLU before addition", 7.84, 6.14),
    ("-relupre", "ReLU-only pre-activation", 6.71, 5.91),
    ("-preact", "full pre-activation", 6.37, 5.46),
)
VARIANTS: tuple[Variant, ...] = (
    *(Variant(arch, what, error, f"{HE_2016}, Table 1") for arch, what, error in _TABLE_1),
    *(
        Variant(f"resnet110{tokens}", what, error, f"{HE_2016}, Table 2")
        for tokens, what, error, _ in _TABLE_2
        if tokens  # the original stands in Table 1 too
    ),
    *(
        Variant(f"resnet164-bottleneck{tokens}", f"{what}, bottleneck", error, f"{HE_2016}, Table 2")
        for tokens, what, _, error in _TABLE_2
    ),
)

# Claim 16. Ours, after He et al. 2015, Table 3: with options A, B and C ResNet-34 has 25.03, 24.52 and 24.19 % top-1
# error on ImageNet, and they call the differences small.
LITTLE = 0.84

# Claim 6. Ours: a layer whose deletion gives at least this share of the error of guessing is at chance.
AT_CHANCE = 0.9
# Claim 7. Ours: percentage points of error that count as almost nothing.
ALMOST_NOTHING = 5.0
# Claim 26. Ours: percentage points of error within which a healed network counts as recovered.
RECOVERED = 1.0


@dataclass(frozen=True)
class Lengths:
    """A range of path lengths of a network with so many blocks, and the share that it holds, 0 to 1."""

    blocks: int
    low: int
    high: int
    share: float


PATHS_110 = Lengths(54, 19, 35, 0.95)  # Veit et al. 2016, section 5; share of all paths
EFFECTIVE = Lengths(54, 5, 17, 0.0045)  # Veit et al. 2016, section 5; share of all paths
# Claims 8 and 9. Ours: a rise in which one step takes more than this share is a jump, not smooth; below this rank
# correlation a rise is too weak to follow the number of deletions, or the disorder.
JUMP = 0.5
LEAST_RANK = 0.3
LEAST_BLOCKS = 4  # ours: fewer show no trend over the blocks of a stage
# Claim 11, computed: the decay per block that puts 97 % of count times norm on 5 to 17 of 54 blocks is 0.26.
DECAY_SLOPE = -1.35
# Claim 12. Ours: the effective paths are short if they are at most this share of all paths.
FEW_PATHS = 0.05
# Claim 11. Ours: distance from a straight line half way, as a share of the whole fall, that still counts as straight;
# a Gaussian lies 0.25 off, and exp(-4 sqrt(length)) about as much.
STRAIGHT = 0.1
# Claim 21. Ours: an estimation error whose mean is at most this share of its deviation has a mean near 0.
NEAR = 0.5
# Claim 13: published errors on effective paths and on the full network; ours: points that count as equally good.
EFFECTIVE_TRAINING = (5.96, 6.10)
AS_GOOD = 0.5
