"""The command `lesion` in processes of its own, on a tiny network and real digits."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import mkdtemp

import torch

from resnet_probe import checkpoint
from resnet_probe.files import alone
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


def once(factory, name, make):
    """A folder that `make` fills, once for all processes of pytest-xdist; do not change what is in it.

    factory: pytest's `tmp_path_factory`.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    done = folder.with_name(f"{name}.made")
    with alone(folder):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


COMMAND = "import sys; from resnet_probe import cli; sys.exit(cli.main(sys.argv[1:]))"
# A server imports everything once; what it forks begins at once.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["torch", "torchvision", "lightning_fabric", "matplotlib.backends.backend_agg", "seaborn", "sklearn.datasets",
     *(f"resnet_probe.{name}" for name in ("checkpoint", "data", "evaluate", "training", "report", "claims")),
     *(f"resnet_probe.commands.{name}" for name in ("study", "train"))]
)  # fmt: skip


class Fork:
    """As `start(*PYTHON, "-c", code, *words)`, without the seconds of imports; for what starts no processes itself."""

    def __init__(self, code, *words):
        self.said = [Path(mkdtemp()) / name for name in ("out", "err")]
        self.process = FORKED.Process(target=_run, args=(code, words, self.said), daemon=True)
        self.process.start()

    def poll(self):
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def communicate(self, timeout=240):
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after {timeout} s")
        return [path.read_text(encoding="utf-8") for path in self.said]

    @property
    def returncode(self):
        return self.process.exitcode


def _run(code, words, said):
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    os.chdir(ROOT)
    kept = environment()
    os.environ.clear()
    os.environ.update(kept)
    torch.set_num_threads(1)
    warnings.filterwarnings("error", category=ResourceWarning)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *map(str, words)]
    exec(code, {"__name__": "__main__"})


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
