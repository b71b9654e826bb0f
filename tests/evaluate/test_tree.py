import random

import pytest

from resnet_probe.evaluate import grow
from resnet_probe.unraveled import Step


def never(step):
    return False


def identity(step):
    return step.mode == "shortcut"


def walk(tree, variant):
    """The steps that lead to a variant's output, read backwards from it."""
    before = {edge.target: edge for edge in tree.edges}
    steps, state = [], tree.finals[variant]
    while state != 0:
        steps.append(before[state].step)
        state = before[state].source
    return steps[::-1]


def drawn(seed):
    """Random chains over a few units, with deletions, scales and other orders."""
    draw = random.Random(seed)
    units = draw.randint(1, 5)
    variants = []
    for _ in range(draw.randint(1, 8)):
        order = draw.sample(range(units), units) if draw.random() < 0.3 else list(range(units))
        modes = draw.choices(["whole", "shortcut", "bypass"], weights=[5, 2, 1], k=units)
        scales = draw.choices([1.0, 0.5], weights=[2, 1], k=units)
        variants.append([Step(*step) for step in zip(order, modes, scales, strict=True)])
    return variants


def prefixes(variants, skip):
    """All beginnings of the chains, without steps that change nothing."""
    chains = [tuple(step for step in steps if not skip(step)) for steps in variants]
    return {chain[:end] for chain in chains for end in range(1, len(chain) + 1)}


@pytest.mark.parametrize("skip", [never, identity])
@pytest.mark.parametrize("seed", range(30))
def test_every_variant_is_its_chain_and_every_beginning_is_there_once(seed, skip):
    variants = drawn(seed)
    tree = grow(variants, skip)
    for number, steps in enumerate(variants):
        assert walk(tree, number) == [step for step in steps if not skip(step)]
    assert len(tree.edges) == len(prefixes(variants, skip))
    assert len({edge.target for edge in tree.edges}) == len(tree.edges)
    assert tree.length == max((edge.position + 1 for edge in tree.edges), default=0)
    assert tree.wanted == set(tree.finals)


@pytest.mark.parametrize("seed", range(30))
def test_edges_come_after_what_they_need(seed):
    tree = grow(drawn(seed), identity)
    known = {0}
    positions = {0: -1}
    for edge in tree.edges:
        assert edge.source in known
        assert edge.position > positions[edge.source]
        known.add(edge.target)
        positions[edge.target] = edge.position
    for state, edges in tree.leaving.items():
        assert all(edge.source == state for edge in edges)
        assert [edge.position for edge in edges] == sorted(edge.position for edge in edges)
    assert sorted(edge.target for edges in tree.leaving.values() for edge in edges) == sorted(known - {0})


@pytest.mark.parametrize("seed", range(10))
def test_sizes_count_what_follows(seed):
    tree = grow(drawn(seed), identity)

    def following(state):
        return sum(1 + following(edge.target) for edge in tree.leaving.get(state, ()))

    assert tree.sizes == {state: following(state) for state in range(len(tree.edges) + 1)}
    assert tree.sizes[0] == len(tree.edges)


def test_single_deletions_share_what_lies_before_them():
    """n blocks: n steps of the intact chain, and behind the i-th deletion n - i."""
    for n in (1, 2, 5, 30):
        intact = [Step(i) for i in range(n)]
        variants = [intact, *([*intact[:i], Step(i, "shortcut"), *intact[i + 1 :]] for i in range(n))]
        assert len(grow(variants, identity).edges) == n + n * (n - 1) // 2
        assert len(grow(variants, never).edges) == n + n * (n + 1) // 2


def test_variants_that_are_one_chain_share_one_state():
    a, b = Step(0), Step(1)
    tree = grow([[a, b], [a, b], [a, Step(7, "shortcut"), b], [a], []], identity)
    assert len(tree.edges) == 2
    assert tree.finals == (2, 2, 2, 1, 0)


def test_nothing_to_run_is_a_tree_too():
    assert grow([], never).edges == ()
    tree = grow([[], [Step(0, "shortcut")]], identity)
    assert (tree.edges, tree.finals, tree.length) == ((), (0, 0), 0)
