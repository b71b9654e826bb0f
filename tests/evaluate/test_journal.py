import json
import random
import sqlite3
from threading import Thread

import pytest

from resnet_probe.evaluate import Journal, JournalError
from resnet_probe.evaluate import journal as journal_module
from resnet_probe.evaluate.journal import Row

ABOUT = {"checkpoint": "abc", "data_set": "def", "precision": "fp32", "deleted": [1, 2]}


def rows(shard, variants=3, wrong=1):
    return [Row(shard, v, 8, {"wrong": wrong, "loss": 2**60 + v}, bytes([shard, v])) for v in range(variants)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lesion.journal"


def test_what_was_committed_is_there_when_it_is_opened_again(path):
    journal = Journal.open(path, ABOUT)
    assert (journal.done(), list(journal.rows())) == (set(), [])
    journal.commit(rows(3))
    journal.commit(rows(0))
    assert journal.done() == {0, 3}
    journal.close()
    again = Journal.open(path, dict(reversed(ABOUT.items())))
    assert list(again.rows()) == rows(0) + rows(3)
    again.close()


def test_none_starts_over_while_another_opens(path, monkeypatch):
    """Its files would go, and SQLite would find some of the one and some of the other."""
    opened, other = journal_module.database, Thread(target=lambda: Journal.open(path, ABOUT, fresh=True).close())
    waits = []

    def slowly(*args):
        if not other.ident:
            other.start()
            other.join(0.2)
            waits.append(other.is_alive())
        return opened(*args)

    monkeypatch.setattr(journal_module, "database", slowly)
    journal = Journal.open(path, ABOUT, fresh=True)
    other.join()
    journal.close()
    assert waits == [True]


def test_a_commit_counts_although_the_file_was_never_closed(path):
    journal = Journal.open(path, ABOUT)
    journal.commit(rows(0))
    other = Journal.open(path, ABOUT)
    assert other.done() == {0}
    other.close()
    journal.close()


def test_a_shard_is_committed_whole_or_not_at_all(path):
    journal = Journal.open(path, ABOUT)

    def broken():
        yield rows(0)[0]
        raise KeyboardInterrupt

    for bad in (broken(), [rows(0)[0], Row(0, 1, None, {}, b"")]):
        with pytest.raises((KeyboardInterrupt, sqlite3.Error)):
            journal.commit(bad)
        assert list(journal.rows()) == []
    journal.commit(rows(0))
    assert journal.done() == {0}
    journal.close()


def test_rows_that_are_there_stay(path):
    journal = Journal.open(path, ABOUT)
    journal.commit(rows(0))
    journal.commit(rows(0, wrong=5))
    assert list(journal.rows()) == rows(0)
    journal.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"checkpoint": "xyz"}, 'another checkpoint ("abc", now "xyz")'),
        ({"data_set": "other"}, 'another data set ("def", now "other")'),
        ({"precision": "bf16"}, 'another precision ("fp32", now "bf16")'),
        ({"deleted": [1, 3]}, "another deleted ([1, 2], now [1, 3])"),
        ({"draws": 5}, "another draws (None, now 5)"),
    ],
)
def test_a_journal_of_something_else_is_refused_by_name(path, change, named):
    journal = Journal.open(path, ABOUT)
    journal.commit(rows(0))
    journal.close()
    with pytest.raises(JournalError) as error:
        Journal.open(path, ABOUT | change)
    assert str(error.value).startswith(f"{path} holds results of {named}")
    assert "--out" in str(error.value)
    assert "--fresh" in str(error.value)
    kept = Journal.open(path, ABOUT)
    assert kept.done() == {0}
    kept.close()
    started_over = Journal.open(path, ABOUT | change, fresh=True)
    assert started_over.done() == set()
    started_over.close()


def test_a_setting_that_is_no_longer_given_is_refused_too(path):
    less = {key: value for key, value in ABOUT.items() if key != "deleted"}
    journal = Journal.open(path, ABOUT)
    journal.commit(rows(0))
    journal.close()
    with pytest.raises(JournalError, match="another deleted"):
        Journal.open(path, less)


def test_a_journal_without_results_is_taken_over(path):
    Journal.open(path, ABOUT).close()
    corrected = Journal.open(path, ABOUT | {"deleted": [1]})
    corrected.commit(rows(0))
    corrected.close()
    with pytest.raises(JournalError, match="another deleted"):
        Journal.open(path, ABOUT)


def test_a_file_that_is_no_journal_is_refused_and_kept(path):
    path.write_text("network,block\n" * 1000)
    with pytest.raises(JournalError, match=r"is no journal of resnet-probe .*--fresh"):
        Journal.open(path, ABOUT)
    assert path.read_text() == "network,block\n" * 1000
    Journal.open(path, ABOUT, fresh=True).close()


def test_the_database_of_another_program_is_refused_and_kept(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE outcome (name TEXT)")
        connection.execute("CREATE TABLE about (key TEXT, value TEXT)")
        connection.execute("INSERT INTO about VALUES ('owner', '\"someone\"')")
    connection.close()
    with pytest.raises(JournalError, match="holds results of another"):
        Journal.open(path, ABOUT)


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match=r"cannot open .*give --out"):
        Journal.open(tmp_path / "no" / "folder" / "j", ABOUT)


def test_the_first_decision_is_kept(path):
    one, two = Journal.open(path, ABOUT), Journal.open(path, ABOUT)
    assert one.recall("budget") is None
    assert one.remember("budget", [8, 8]) == [8, 8]
    assert two.remember("budget", [16, 16]) == [8, 8]
    assert two.recall("budget") == [8, 8]
    one.commit(rows(0))
    two.forget()
    assert (one.recall("budget"), one.done()) == (None, set())
    one.close()
    two.close()
    Journal.open(path, ABOUT).close()  # what it is about was not forgotten


def test_another_process_journal_is_adopted_if_its_shards_were_cut_alike(tmp_path):
    mine, alike, other = (Journal.open(tmp_path / name, ABOUT) for name in ("j", "j.1", "j.2"))
    mine.remember("budget", [8, 8])
    mine.commit(rows(0))
    alike.remember("budget", [8, 8])
    alike.commit(rows(1))
    other.remember("budget", [4, 4])
    other.commit(rows(2))
    alike.close()
    other.close()
    mine.adopt(tmp_path / "j.1")
    mine.adopt(tmp_path / "j.2")
    assert mine.done() == {0, 1}
    mine.close()
    stranger = Journal.open(tmp_path / "s", ABOUT | {"checkpoint": "other"})
    with pytest.raises(JournalError, match="another checkpoint"):
        stranger.adopt(tmp_path / "j.1")
    stranger.close()


def test_an_empty_journal_adopts_the_cut_with_the_shards(tmp_path):
    mine, other = (Journal.open(tmp_path / name, ABOUT) for name in ("j", "j.1"))
    other.remember("budget", [4, 4])
    other.commit(rows(2))
    other.close()
    mine.adopt(tmp_path / "j.1")
    assert (mine.done(), mine.recall("budget")) == ({2}, [4, 4])
    mine.close()


def test_the_file_is_made_for_many_readers_and_sudden_ends(path):
    journal = Journal.open(path, ABOUT)
    (mode,) = journal._connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = journal._connection.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)
    found = dict(journal._connection.execute("SELECT key, value FROM about"))
    assert json.loads(found["checkpoint"]) == "abc"
    journal.close()


# -- damage ----------------------------------------------------------------------------------------------------------


def state(path):
    """What a sweep reads of the journal; the message where it is refused."""
    try:
        journal = Journal.open(path, ABOUT)
    except (JournalError, OSError) as error:
        return str(error)
    try:
        return sorted(journal.done()), list(journal.rows()), journal.recall("budget")
    finally:
        journal.close()


@pytest.mark.parametrize("results", [True, False])
@pytest.mark.parametrize(
    "column",
    ["about.key", "about.value", "about.digest"]
    + [f"outcome.{name}" for name in ("shard", "variant", "examples", "sums", "kept", "digest")],
)
def test_a_damaged_schema_is_one_line_that_names_the_journal(path, column, results):
    journal = Journal.open(path, ABOUT)
    journal.commit(rows(0) if results else [])
    journal.close()
    table, name = column.split(".")
    with sqlite3.connect(path) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {name} TO other")
    connection.close()
    message = state(path)
    assert str(path) in message
    assert f"no such column: {name}" in message
    assert message.endswith("give another --out, or --fresh to start over")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_never_becomes_a_number(path, seed):
    """As written, refused, or begun anew as an empty journal; never other rows."""
    journal = Journal.open(path, ABOUT)
    journal.remember("budget", [1000, 64])
    for shard in range(12):
        journal.commit(rows(shard))
    journal.close()
    whole, content = state(path), path.read_bytes()
    assert len(whole[1]) == 36
    generator, refused = random.Random(seed), 0
    for _ in range(125):
        place, bit = generator.randrange(len(content)), generator.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        found = state(path)
        if isinstance(found, str):
            refused += 1
            assert str(path) in found
            assert "\n" not in found
        else:
            assert found in (whole, ([], [], None)), (place, bit)
    assert refused > 20


@pytest.mark.parametrize(
    "statement",
    [
        """UPDATE outcome SET sums = replace(sums, '"wrong": 1', '"wrong": 2') WHERE shard = 1 AND variant = 2""",
        "UPDATE outcome SET variant = 7 WHERE shard = 1 AND variant = 2",
        "UPDATE outcome SET kept = x'00' WHERE shard = 0 AND variant = 0",
        "UPDATE about SET value = '[0, 0]' WHERE key = 'plan:budget'",
    ],
)
def test_a_changed_row_is_named(path, statement):
    journal = Journal.open(path, ABOUT)
    journal.remember("budget", [1000, 64])
    journal.commit(rows(0))
    journal.commit(rows(1))
    journal._connection.execute(statement)
    journal.close()
    what = "the decision budget" if "about" in statement else r"the outcome of variant \d on shard \d"
    with pytest.raises(JournalError, match=rf"lesion.journal is damaged \({what}\); give another --out, or --fresh"):
        Journal.open(path, ABOUT)
