"""The setting holds inside only, whatever it was before; what it does on a device is in `test_gpu.py`."""

import pytest
import torch

from resnet_probe.float32 import full_float32

CUDNN = torch.backends.cudnn


def state():
    return CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision


@pytest.fixture(params=[("tf32", "tf32"), ("ieee", "ieee"), ("ieee", "tf32"), ("none", "none")])
def before(request):
    kept = state()
    CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = request.param
    yield request.param
    CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = kept


def test_tf32_is_off_inside_and_as_before_outside(before):
    with full_float32(), full_float32():
        assert not CUDNN.allow_tf32
        assert "tf32" not in state()
    assert state() == before


def test_tf32_is_off_inside_where_all_of_torch_is_set_to_it():
    kept, everywhere = state(), torch.backends.fp32_precision
    try:
        CUDNN.conv.fp32_precision = CUDNN.rnn.fp32_precision = "none"  # as the setting above them
        torch.backends.fp32_precision = "tf32"
        assert state() == ("tf32", "tf32")
        with full_float32():
            assert "tf32" not in state()
            assert not CUDNN.allow_tf32
        assert state() == ("tf32", "tf32")
    finally:
        torch.backends.fp32_precision = everywhere
        CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = kept


def test_it_is_as_before_after_an_error(before):
    with pytest.raises(ZeroDivisionError):
        full_float32()(lambda: 1 / 0)()
    assert state() == before


def test_the_old_setting_can_still_be_read():
    full_float32()(lambda: None)()
    assert CUDNN.allow_tf32
