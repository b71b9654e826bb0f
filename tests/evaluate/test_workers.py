"""Several processes share a sweep: every image once, and the same table as of one process."""

import json

import pytest

from resnet_probe import cli
from resnet_probe.evaluate import Journal, Workers, evaluate
from resnet_probe.evaluate import sweep as sweep_module
from tests.evaluate.cases import images, network
from tests.evaluate.runs import PYTHON, finish, shards, start, words


class Connected(Workers):
    """A process whose fellows have already said what they have."""

    def __init__(self, rank, count, heard):
        super().__init__(rank, count)
        object.__setattr__(self, "heard", heard)

    def agree(self, value):
        return value if self.rank == 0 else self.heard["agreed"]

    def _everyones(self, mine):
        return [mine, *self.heard["rows" if mine and not isinstance(mine[0], int) else "done"]]


def test_each_process_runs_its_own_shards_and_all_end_with_the_same_scores(monkeypatch):
    monkeypatch.setattr(sweep_module, "SHARD_STEPS", 1)
    _, net = network("resnet8-w4")
    variants = {"": net.steps} | {unit.name: net.delete(unit.name).steps for unit in net.blocks}
    data, how = images(30), {"sweep": sweep_module.Sweep(batch_size=4)}
    alone = evaluate(net, variants, data, **how)
    run_shard, seen = sweep_module.run_shard, []

    def watched(executor, task, part, number):
        seen.append((number, len(part)))
        made = run_shard(executor, task, part, number)
        rows.extend(made)
        return made

    monkeypatch.setattr(sweep_module, "run_shard", watched)
    made, scores = [], {}
    for rank in (0, 1, 2):
        rows = []
        heard = {"agreed": sweep_module.ChunkPlan(4, 4), "done": [[]], "rows": list(made)}
        monkeypatch.setattr(sweep_module, "scores_of", _when_whole(rank == 2))
        scores = evaluate(net, variants, data, workers=Connected(rank, 3, heard), **how)
        made.append(rows)
    assert sorted(number for number, _ in seen) == list(range(8))
    assert sum(size for _, size in seen) == len(data)
    assert scores == alone
    assert all((scores[name].flags == alone[name].flags).all() for name in alone)


def test_results_of_a_worker_count_only_if_its_shards_were_cut_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_module, "SHARD_STEPS", 1)
    monkeypatch.setattr(sweep_module, "scores_of", _when_whole(False))
    _, net = network("resnet8-w4")
    journal = Journal.open(tmp_path / "j", {})
    kept = []
    for chunk in (8, 4, 4):
        heard = {"agreed": sweep_module.ChunkPlan(chunk, chunk), "done": [[]], "rows": []}
        evaluate(net, {"": net.steps}, images(30), journal=journal, workers=Connected(1, 2, heard))
        assert journal.recall("budget") == [chunk, chunk]
        kept.append({row.shard: row.examples for row in journal.rows()})
    journal.close()
    assert kept == [{1: 8, 3: 6}, {1: 4, 3: 4, 5: 4, 7: 2}, {1: 4, 2: 4, 3: 4, 5: 4, 6: 4, 7: 2}]


def _when_whole(whole, sum_up=sweep_module.scores_of):
    """The first processes of this test do not hear of the rows of those that have not run yet."""
    return sum_up if whole else lambda names, rows, task: {}


def test_a_shard_that_two_processes_have_counts_once(tmp_path):
    from resnet_probe.evaluate.journal import Row

    row = Row(0, 0, 8, {"wrong": 1}, b"\x80")
    other = Row(1, 0, 8, {"wrong": 2}, b"\xc0")
    workers = Connected(0, 2, {"rows": [[row, other]], "done": [[0, 1]]})
    assert workers.gather([row], None) == [row, other]
    assert workers.known(None) == {0, 1}
    journal = Journal.open(tmp_path / "j", {})
    journal.commit([row])
    assert workers.gather([], journal) == [row, other]
    journal.close()
    assert Workers().gather([row], None) == [row]


LAUNCHERS = {
    "its own": (*PYTHON[:1], "-m", "resnet_probe"),
    "torchrun": (
        *PYTHON[:1],
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "resnet_probe"),
    ),
}


@pytest.mark.slow
def test_two_processes_write_the_table_of_one(tiny, table, tmp_path):
    command = (*LAUNCHERS["its own"], *words(tiny, tmp_path, "--devices", "2", "--accelerator", "cpu"))
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert (tmp_path / "lesion.csv").read_bytes() == table
    first, second = shards(tmp_path), shards(tmp_path, "lesion.journal.1")
    assert first | second == set(range(8))
    assert not first & second
    assert min(len(first), len(second)) == 4
    # what two have begun one can finish, and the other way round
    for name in ("lesion.csv", "lesion.journal"):
        (tmp_path / name).unlink()
    assert cli.main(words(tiny, tmp_path)) == 0
    assert (tmp_path / "lesion.csv").read_bytes() == table
    assert "arguments" in json.dumps(json.loads((tmp_path / "lesion.json").read_text()))


@pytest.mark.slow
def test_one_process_began_and_two_of_torchrun_go_on(tiny, table, tmp_path):
    assert cli.main(words(tiny, tmp_path)) == 0
    connection = Journal.open(tmp_path / "lesion.journal", _about(tmp_path))
    connection._connection.execute("DELETE FROM outcome WHERE shard IN (1, 2, 5, 6)")
    connection.close()
    (tmp_path / "lesion.csv").unlink()
    command = (*LAUNCHERS["torchrun"], *words(tiny, tmp_path, "--devices", "2", "--accelerator", "cpu"))
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert (tmp_path / "lesion.csv").read_bytes() == table
    first, second = shards(tmp_path), shards(tmp_path, "lesion.journal.1")
    assert first | second == set(range(8))
    assert len(second) == 2
    assert not first & second


def _about(folder):
    import sqlite3

    connection = sqlite3.connect(folder / "lesion.journal")
    found = dict(connection.execute("SELECT key, value FROM about WHERE key NOT LIKE 'plan:%' AND key != 'format'"))
    connection.close()
    return {key: json.loads(value) for key, value in found.items()}
