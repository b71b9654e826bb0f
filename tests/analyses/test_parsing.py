import re

import pytest

from resnet_probe.analyses import parsing


@pytest.mark.parametrize(
    ("written", "numbers"),
    [("1:20", list(range(1, 21))), ("5", [5]), ("2:20:6", [2, 8, 14, 20]), ("3:3", [3]), ("1:10:4", [1, 5, 9])],
)
def test_ranges(written, numbers):
    assert list(parsing.numbers(written)) == numbers
    assert parsing.numbers(parsing.written_numbers(parsing.numbers(written))) == parsing.numbers(written)


@pytest.mark.parametrize("written", ["", "0:3", "5:1", "-2", "a", "1:b", "1:2:3:4", "1:5:0", "1.5", ":4", "1:9:-1"])
def test_what_is_no_range_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match=re.escape(f"{written!r} is no range; give FIRST:LAST, such as 1:20")):
        parsing.numbers(written)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("800M", 800_000_000),
        ("800MB", 800_000_000),
        ("2G", 2 * 10**9),
        ("2gb", 2 * 10**9),
        ("1.5 G", 1_500_000_000),
        ("64k", 64_000),
        ("123456", 123_456),
    ],
)
def test_amounts_of_memory(written, amount):
    assert parsing.memory_size(written) == amount


@pytest.mark.parametrize("written", ["", "M", "-1G", "0", "lots", "1e999", "nan", "800MX", "0.1"])
def test_what_is_no_amount_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match="is no amount of memory"):
        parsing.memory_size(written)
