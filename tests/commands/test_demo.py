import csv
from dataclasses import replace

import pytest

from resnet_probe.cli import main
from resnet_probe.commands import demo
from resnet_probe.training import DEMO_RECIPES


@pytest.mark.slow
def test_the_demo_ends_with_two_networks_that_differ(tmp_path, capsys, monkeypatch):
    """Both are far below 3 % by the full recipe; here a third of it, and the margin that the measured spread allows."""
    for arch in demo.NETWORKS:
        monkeypatch.setitem(DEMO_RECIPES, arch, DEMO_RECIPES[arch] | {"epochs": 10})
    monkeypatch.setattr(demo, "AMOUNT", replace(demo.AMOUNT, draws=3, samples=50, images=50))
    assert main(["demo", "--out", str(tmp_path), "--format", "png"]) == 0
    said = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "lesion.csv").read_text(encoding="utf-8").splitlines()))
    by_network = {name: [float(r["error"]) for r in rows if r["network"] == name] for name in ("resnet32", "vgg16-w16")}
    assert by_network["resnet32"][0] < 5  # percent, intact
    assert by_network["vgg16-w16"][0] < 5
    medians = {name: sorted(errors[1:])[len(errors) // 2 - 1] for name, errors in by_network.items()}
    assert medians["resnet32"] < 10
    assert medians["vgg16-w16"] > 50
    assert "2^15 = 32,768" in said
    assert {"lesion.png", "paths.png", "resnet32.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    assert f"report  {tmp_path / 'report.html'}" in " ".join(said.split(" ")).replace("report     ", "report  ")
    assert " 0 failed" in said
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for section in ("compare", "lesion", "lesion-multi", "reorder", "paths", "gradients", "responses", "iterative"):
        assert f'id="analysis-{section}"' in page
    assert "This run is not complete" not in page
    before = (tmp_path / "lesion.csv").read_bytes()
    assert main(["demo", "--out", str(tmp_path), "--format", "png", "--quiet"]) == 0  # networks are used again
    assert (tmp_path / "lesion.csv").read_bytes() == before
