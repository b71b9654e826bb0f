"""Threads: as many as are asked for, and no more than a quota allows."""

import os
import subprocess
import sys

import pytest

from resnet_probe import threads


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "100000000 100000"}, None),  # a thousand processors: no more than there are
        ({}, None),
    ],
)
def test_a_quota_bounds_the_processors(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.processors(tmp_path) == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("given", "variable", "expected"), [(1, None, 1), (1, "2", 1), (None, "1", 1)])
def test_torch_computes_with_the_threads_that_are_given(given, variable, expected):
    code = f"from resnet_probe.threads import use; use({given}); import torch; print(torch.get_num_threads())"
    environment = {name: value for name, value in os.environ.items() if name != threads.VARIABLE}
    if variable is not None:
        environment[threads.VARIABLE] = variable
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) == expected


def test_a_quota_is_the_default(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads, "processors", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    import torch

    before = torch.get_num_threads()
    try:
        threads.use(None)
        assert (torch.get_num_threads(), os.environ[threads.VARIABLE]) == (1, "1")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("load", "variable", "told"), [(2.9, None, False), (3.1, None, True), (9.0, "1", False)])
def test_a_crowded_machine_is_told(monkeypatch, load, variable, told):
    monkeypatch.setattr(threads, "processors", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    if variable:
        monkeypatch.setenv(threads.VARIABLE, variable)
    assert (threads.crowded() is not None) is told
