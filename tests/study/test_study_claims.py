"""Claims: one living process per job, and nothing that outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study import store_claims
from dynaprobe.study.store_claims import Claims
from dynaprobe.study.store_files import WriteError, write_json
from dynaprobe.study.store_sweep import SweepStore

HOLDS = (
    "import sys; from pathlib import Path; from dynaprobe.study.store_claims import Claims\n"
    "claim = Claims(Path(sys.argv[1])).take('job')\n"
    "print('has it' if claim else 'has it not', flush=True); sys.stdin.read()"
)


@pytest.fixture
def claims(tmp_path) -> Claims:
    return Claims(tmp_path / "claims")


def test_what_one_has_another_does_not_get_until_it_is_released(claims):
    first = claims.take("job")
    assert first is not None
    assert claims.take("job") is None  # not even in the same process: two threads are two
    assert claims.take("other") is not None
    first.release()
    first.release()
    assert claims.take("job") is not None


def test_a_killed_process_leaves_nothing_behind(claims):
    command = [sys.executable, "-c", HOLDS, str(claims.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "has it\n"
        assert claims.take("job") is None
        other.kill()
    claim = claims.take("job")
    assert claim is not None
    claim.release()
    assert list(claims.folder.iterdir()) == []


def test_of_many_who_ask_at_once_one_gets_it_each_time(claims):
    """Taking, releasing and removing race with one another for a second."""
    at_work, most, taken = [0], [0], [0]
    guard = threading.Lock()

    def grab():
        for _ in range(300):
            claim = claims.take("job")
            if claim is None:
                continue
            with guard:
                at_work[0] += 1
                taken[0] += 1
                most[0] = max(most[0], at_work[0])
            with guard:
                at_work[0] -= 1
            claim.release()

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert taken[0] > 8


def test_who_works_says_how_far_and_the_dead_are_not_shown_for_long(claims, monkeypatch):
    claim = claims.take("job")
    claim.tell({"done": 30, "total": 100})
    claim.tell({"done": 4, "total": 100})  # shorter than before: nothing of the longer one remains
    known = claims.at_work()["job"]
    assert (known["done"], known["total"], known["pid"]) == (4, 100, os.getpid())
    monkeypatch.setattr(store_claims, "SHOWN_FOR_S", -1.0)
    assert claims.at_work() == {}


def test_what_a_process_left_that_has_ended_is_not_shown_as_work(claims):
    """As after Ctrl-C, when all are ended at once; of another machine nobody knows."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as ended:
        pass
    claims.take("mine").tell({"pid": os.getpid()})
    claims.take("dead").tell({"pid": ended.pid})
    claims.take("elsewhere").tell({"pid": ended.pid, "host": "node-7"})
    claims.take("odd").tell({"pid": None})
    assert sorted(claims.at_work()) == ["elsewhere", "mine", "odd"]


def test_a_file_system_without_locks_is_used_all_the_same(claims, monkeypatch):
    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(store_claims.fcntl, "flock", no_locks)
    assert claims.take("job") is not None
    assert claims.take("job") is not None


def test_a_store_is_made_once_and_opened_again(tmp_path):
    store = SweepStore(tmp_path / "store")
    store.open()
    before = store.manifest_path.read_bytes()
    SweepStore(tmp_path / "store").open()
    assert store.manifest_path.read_bytes() == before


def test_a_store_of_another_format_is_refused_with_a_sentence(tmp_path):
    store = SweepStore(tmp_path / "store")
    store.open()
    write_json(store.manifest_path, {"kind": "sweep", "format_version": 99})
    with pytest.raises(
        DataError, match=r"format_version must be 1, but got 99\. Read this store with the version"
    ):
        store.open()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match=r"--out must be a new folder.*nothing there was touched"):
        SweepStore(tmp_path).open()
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_first_write_that_was_killed_and_one_under_way_do_not_take_the_folder(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".sweep-a1b2.tmp.json").write_text("{")
    SweepStore(tmp_path / "store").open()


def test_only_old_leftovers_are_cleared(tmp_path):
    """Another process may be writing the young one at this moment."""
    store = SweepStore(tmp_path / "store")
    store.open()
    old, young = (store.make_folder("networks") / f".{name}-1.tmp.nc" for name in ("old", "young"))
    for file in (old, young):
        file.write_text("half")
    os.utime(old, (0, 0))
    store.open()
    assert (old.exists(), young.exists()) == (False, True)


def test_failures_are_remembered_until_there_is_a_result(tmp_path):
    store = SweepStore(tmp_path / "store")
    store.open()
    store.note_failure("job", "it rained", n_tries=3)
    assert store.failures() == {"job": "it rained"}
    store.forget_failure("job")
    store.forget_failure("job")
    assert store.failures() == {}


def test_a_claim_that_cannot_be_written_is_a_sentence(tmp_path):
    store = SweepStore(tmp_path / "store")
    store.open()
    store.path("claims").write_text("a file where the folder should be")
    with pytest.raises(WriteError, match=r"job\.claim must be written.*what is finished is kept"):
        store.claim("job")
