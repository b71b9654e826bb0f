import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from resnet_probe.data import Data
from resnet_probe.evaluate import Journal, Sweep, evaluate_recalibrated, recalibrate
from tests.evaluate.cases import images, loop, network, without


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_the_statistics_are_those_of_update_bn():
    model, _ = network("resnet8-w4")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.fill_(7)  # as after a training; the old statistics must not count
    train = images(50, seed=5)
    expected, found = copy.deepcopy(model), copy.deepcopy(model)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(4))
    update_bn((x for x, _ in train.subset(order).batches(13)), expected)  # 4 batches, as equal as can be
    recalibrate(found, train, batch_size=16, seed=4)
    old = state(model)
    for key, value in state(expected).items():
        torch.testing.assert_close(state(found)[key], value, rtol=1e-6, atol=1e-7)
        if "num_batches" in key:
            continue
        assert ("running" in key) == (value.dtype.is_floating_point and not torch.equal(value, old[key])), key


def test_one_batch_of_all_images_has_the_exact_moments_of_each_layer_after_the_other():
    model, _ = network("resnet8-w4")
    train = images(48, seed=5)
    recalibrate(model, train, batch_size=48)
    inputs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # each layer hands on what these images' own moments make of them
            module.register_forward_pre_hook(lambda m, x, name=name: inputs.__setitem__(name, x[0].double()))
    kept = state(model)
    with torch.no_grad():
        model(next(train.batches(48))[0])
    for name, x in inputs.items():
        torch.testing.assert_close(kept[f"{name}.running_mean"].double(), x.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(kept[f"{name}.running_var"].double(), x.var((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_classes_that_come_one_after_the_other_lose_no_variance():
    """Four classes of one brightness each, in the order of their folders: within a class there is hardly variance."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(512) // 128
    pixels = (60 * labels[:, None, None, None] + torch.randint(0, 10, (512, 3, 8, 8), generator=generator)).to(
        torch.uint8
    )
    train = Data("sorted", "train", pixels, labels, tuple("abcd"), "0.5;0.25")
    whole, sorted_, found = (nn.Sequential(nn.BatchNorm2d(3)).eval() for _ in range(3))
    recalibrate(whole, train, batch_size=512)
    update_bn((x for x, _ in train.batches(128)), sorted_)
    recalibrate(found, train, batch_size=128)
    ratio = found[0].running_var / whole[0].running_var
    assert (sorted_[0].running_var / whole[0].running_var).max() < 0.1
    assert ratio.min() > 0.95
    assert ratio.max() < 1.05


def test_modes_and_momentum_are_as_before_and_dropout_stays_off():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.norm = nn.Dropout(0.9), nn.BatchNorm2d(3, momentum=0.3)

        def forward(self, x):
            return self.norm(self.drop(x))

    model = Dropped().eval()
    train = images(20)
    recalibrate(model, train, batch_size=20)
    x = next(train.batches(20))[0]
    torch.testing.assert_close(model.norm.running_mean, x.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert (model.training, model.norm.training, model.norm.momentum) == (False, False, 0.3)


def test_modes_are_restored_after_an_error():
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3), nn.Linear(99, 1)).eval()
    with pytest.raises(RuntimeError, match="shapes"):
        recalibrate(model, images(4))
    assert (model[0].training, model[0].momentum) == (False, 0.3)


def test_a_network_without_batch_norm_is_an_error():
    with pytest.raises(ValueError, match="no batch norm"):
        recalibrate(nn.Conv2d(3, 3, 1), images(4))


@pytest.fixture(scope="module")
def case():
    model, net = network("resnet8-w4")
    variants = {"": net.steps} | {unit.name: net.delete(unit.name).steps for unit in net.blocks}
    return model, net, variants, images(30), images(60, seed=9)


def test_each_variant_is_measured_with_statistics_of_its_own(case):
    model, net, variants, data, train = case
    before = state(model)
    modes = [module.training for module in model.modules()]
    scores = evaluate_recalibrated(net, variants, data, train, sweep=Sweep(batch_size=16))
    edited = {name: without(model, *[name] * bool(name)) for name in variants}
    for copied in edited.values():
        order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
        update_bn((x for x, _ in train.subset(order).batches(60)), copied)
        copied.eval()
    for name, outputs in loop(edited, data).items():
        np.testing.assert_array_equal(scores[name].flags, (outputs.argmax(1) != data.labels).numpy())
        assert scores[name].loss == pytest.approx(nn.functional.cross_entropy(outputs, data.labels).item(), rel=1e-5)
    plain = loop({name: without(model, *[name] * bool(name)) for name in variants}, data)
    assert any(scores[n].wrong != int((plain[n].argmax(1) != data.labels).sum()) for n in variants)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


def test_it_goes_on_where_it_stopped(case, tmp_path, monkeypatch):
    _, net, variants, data, train = case
    whole = evaluate_recalibrated(net, variants, data, train, sweep=Sweep())
    journal = Journal.open(tmp_path / "j", {})
    batches, seen = Data.batches, []

    def stop(self, *args, **how):
        seen.append(self)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return batches(self, *args, **how)

    monkeypatch.setattr(Data, "batches", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate_recalibrated(net, variants, data, train, sweep=Sweep(), journal=journal)
    assert len(list(journal.rows())) == 1
    reports = []
    again = evaluate_recalibrated(
        net, variants, data, train, sweep=Sweep(), journal=journal, progress=lambda *x: reports.append(x)
    )
    journal.close()
    assert len(seen) == 4 + 2 * (len(variants) - 1)
    assert again == whole
    assert reports == [(i + 1, len(variants)) for i in range(len(variants))]
