import json
import sqlite3

import pytest

from resnet_probe.evaluate import Journal, JournalError
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
