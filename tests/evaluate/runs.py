"""The command `lesion` in processes of its own, on a tiny network and real digits."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import torch

from resnet_probe import checkpoint
from resnet_probe.models import resolve

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-W", "error::ResourceWarning")

# The command, with a pause at each batch so that there is time to interrupt it.
SLOWLY = """
import sys, time
from resnet_probe import cli
from resnet_probe.evaluate import executors
run_tree = executors.run_tree
def slow(*args, **how):
    time.sleep(float(sys.argv[1]))
    return run_tree(*args, **how)
executors.run_tree = slow
sys.exit(cli.main(sys.argv[2:]))
"""


def make_checkpoint(folder):
    """A network that was trained for nothing, but answers differently to different digits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = resolve("resnet14-w4", in_channels=1).eval()
    return checkpoint.save(folder / "tiny.safetensors", model, arch="resnet14-w4", metadata={"data": "digits"})


def words(ckpt, out, *more):
    fixed = ("--data", "digits", "--normalize", "none", "--limit", "192", "--batch-size", "8", "--format", "png", "-q")
    return ["lesion", "--ckpt", str(ckpt), "--out", str(out), *fixed, *more]


def environment():
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RESNET_PROBE", "SLURM"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(*command):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a background job ignores it
    )  # fmt: skip


def finish(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def shards(out, name="lesion.journal"):
    """Numbers of the finished shards; none where there is no journal yet."""
    path = Path(out) / name
    if not path.exists():
        return set()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        return {number for (number,) in connection.execute("SELECT DISTINCT shard FROM outcome")}
    except sqlite3.OperationalError:  # the tables are not there yet
        return set()
    finally:
        connection.close()
