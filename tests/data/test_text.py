"""Text as windows of tokens."""

import numpy as np
import pytest

from resnet_probe.data import DataError
from resnet_probe.data.text import load_text


def test_both_parts_of_an_array_have_the_tokens_of_the_whole(tmp_path):
    np.save(tmp_path / "words.npy", np.r_[np.arange(90) % 3, np.full(10, 7)])
    train, test = (load_text(tmp_path / "words.npy", split=split, context=4) for split in ("train", "test"))
    assert train.classes == test.classes == tuple("01234567")
    assert int(train.images.max()) == 2
    assert int(test.images.min()) == 7


@pytest.mark.parametrize("tokens", [[], [0, 2**20] * 9, [-1, 0] * 9])
def test_arrays_of_other_numbers_are_refused(tmp_path, tokens):
    np.save(tmp_path / "words.npy", np.array(tokens, dtype=np.int64))
    with pytest.raises(DataError) as refused:
        load_text(tmp_path / "words.npy", split="train", context=4)
    assert "\n" not in str(refused.value)
