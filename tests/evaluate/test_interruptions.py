"""Whatever happens to a sweep, the same command goes on and ends in the same bytes."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from resnet_probe import cli
from tests.evaluate.runs import PYTHON, SLOWLY, Fork, finish, shards, start, words

pytestmark = pytest.mark.slow
ALL = 8  # shards of 192 images in batches of 8


def until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tiny, table, tmp_path):
    process = Fork(SLOWLY, "0.5", *words(tiny, tmp_path))
    until(lambda: len(shards(tmp_path)) >= 2, process)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    # click ends the line that the terminal has begun with ^C
    assert err.strip() == "error: interrupted; finished work is kept, and the same command goes on from there"
    assert not (tmp_path / "lesion.csv").exists()
    assert 2 <= len(shards(tmp_path)) < ALL
    assert cli.main(words(tiny, tmp_path)) == 0
    assert len(shards(tmp_path)) == ALL
    assert (tmp_path / "lesion.csv").read_bytes() == table


def test_two_processes_share_one_folder(tiny, table, tmp_path):
    both = [Fork(SLOWLY, "0.02", *words(tiny, tmp_path)) for _ in range(2)]
    for process in both:
        code, _, err = finish(process)
        assert (code, err) == (0, "")
    assert (tmp_path / "lesion.csv").read_bytes() == table
    settings = json.loads((tmp_path / "lesion.json").read_text())
    assert "settings" in settings or "arguments" in settings
    assert {path.name for path in tmp_path.iterdir()} == {"lesion.csv", "lesion.json", "lesion.png", "lesion.journal"}


def test_two_processes_that_start_over_at_once_end_alike(tiny, table, tmp_path):
    words_twice = words(tiny, tmp_path, "--fresh")
    both = [Fork(SLOWLY, "0.02", *words_twice) for _ in range(2)]
    for process in both:
        code, _, err = finish(process)
        assert (code, err) == (0, "")
    assert (tmp_path / "lesion.csv").read_bytes() == table


def test_a_worker_that_dies_ends_the_others_and_the_next_run_goes_on(tiny, table, tmp_path):
    program = tmp_path / "slowly.py"  # a file, which every process runs again
    program.write_text(SLOWLY)
    process = start(*PYTHON, str(program), "0.3", *words(tiny, tmp_path, "--devices", "2", "--device", "cpu"))
    until(lambda: len(shards(tmp_path)) >= 2, process)
    (worker,) = [  # the process that Fabric started
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.exists() and path.read_text().rpartition(")")[2].split()[1] == str(process.pid)
    ]
    os.kill(worker, signal.SIGKILL)
    code, _, _ = finish(process, timeout=60)
    assert code != 0
    assert len(shards(tmp_path)) < ALL
    assert cli.main(words(tiny, tmp_path)) == 0
    assert (tmp_path / "lesion.csv").read_bytes() == table


# One process imports everything, then forks a run after another and kills it: 20 deaths without 20 start-ups.
KILLER = """
import os, random, shutil, signal, sqlite3, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from resnet_probe import cli
from resnet_probe.evaluate import executors

out, words, whole = Path(sys.argv[1]), sys.argv[3:], Path(sys.argv[2]).read_bytes()
run_tree = executors.run_tree
def slow(*args, **how):
    time.sleep(0.04)
    return run_tree(*args, **how)

def child():
    pid = os.fork()
    if pid == 0:
        os._exit(cli.main(words))
    return pid

def finished():
    if not (out / "lesion.journal").exists():
        return 0
    connection = sqlite3.connect(out / "lesion.journal")
    try:
        return connection.execute("SELECT COUNT(DISTINCT shard) FROM outcome").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()

assert cli.main(words) == 0
shutil.rmtree(out)
out.mkdir()
executors.run_tree = slow
begin = time.monotonic()
assert os.waitpid(child(), 0)[1] == 0
length = time.monotonic() - begin
assert (out / "lesion.csv").read_bytes() == whole
generator = random.Random()
kills, moments = 0, []
while kills < 20:
    if generator.random() < 0.3 or (out / "lesion.csv").exists():
        shutil.rmtree(out)
        out.mkdir()
    pid = child()
    time.sleep(generator.uniform(0.0, length))
    dead, status = os.waitpid(pid, os.WNOHANG)
    if dead:
        assert status == 0, status
        assert (out / "lesion.csv").read_bytes() == whole
        shutil.rmtree(out)
        out.mkdir()
        continue
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kills += 1
    moments.append(finished())
assert os.waitpid(child(), 0)[1] == 0
assert (out / "lesion.csv").read_bytes() == whole
print(*moments)
"""


def test_killed_at_twenty_random_moments(tiny, table, tmp_path):
    (tmp_path / "whole.csv").write_bytes(table)
    out = tmp_path / "out"
    out.mkdir()
    process = Fork(KILLER, str(out), str(tmp_path / "whole.csv"), *words(tiny, out))
    code, printed, err = finish(process)
    assert code == 0, err
    moments = [int(word) for word in printed.split()]
    assert len(moments) == 20
    assert any(0 < done < ALL for done in moments), moments  # not all of them died before or after the work
    left = [path.name for path in out.iterdir() if path.suffix in (".csv", ".json", ".png", ".journal")]
    assert sorted(left) == ["lesion.csv", "lesion.journal", "lesion.json", "lesion.png"]


FULL = """
import resource, sys
from resnet_probe import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("size", [8_000, 36_000, 48_000])
def test_a_full_disk_is_one_line_and_a_rerun_with_space_finishes(tiny, table, tmp_path, size):
    code, out, err = finish(Fork(FULL, str(size), *words(tiny, tmp_path)))
    assert (code, out) == (1, "")
    assert err.startswith(("error: cannot write to ", "error: cannot open "))
    assert err.count("\n") == 1
    assert not (tmp_path / "lesion.csv").exists()
    assert len(shards(tmp_path)) < ALL
    assert cli.main(words(tiny, tmp_path)) == 0
    assert (tmp_path / "lesion.csv").read_bytes() == table


def test_a_journal_of_other_images_is_refused_and_fresh_starts_over(tiny, table, tmp_path, capsys):
    shutil.copy(tiny, tmp_path / "tiny.safetensors")
    out = tmp_path / "out"
    assert cli.main(words(tiny, out, "--limit", "60")) == 0
    (out / "lesion.csv").unlink()  # as if it had been interrupted: of a finished run another --limit replaces the table
    (out / "lesion.json").unlink()
    capsys.readouterr()
    assert cli.main(words(tiny, out)) == 2
    err = capsys.readouterr().err
    assert "holds results of another" in err
    assert "--fresh" in err
    assert err.count("\n") == 1
    assert not (out / "lesion.csv").exists()
    assert cli.main(words(tiny, out, "--fresh")) == 0
    assert (out / "lesion.csv").read_bytes() == table
