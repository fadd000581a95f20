from pathlib import Path

import pytest

from distill import log
from models.errors import DataError


def test_a_log_holds_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert log.read(path) == []
    log.append(path, step=1, loss=0.5)
    log.append(path, step=2)
    assert log.read(path) == [{"step": 1, "loss": 0.5}, {"step": 2}]
    assert len(path.read_text().splitlines()) == 2


def test_half_a_line_that_a_power_cut_left_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"st')
    assert log.read(path) == [{"step": 1}]
    log.append(path, step=2)
    assert log.read(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("line", ['{"st', "[1]", "3", "\x00\x01"])
def test_a_broken_line_before_the_last_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(f'{line}\n{{"step": 2}}\n')
    with pytest.raises(DataError, match=r"log.jsonl is not the log of a run"):
        log.read(tmp_path / "log.jsonl")


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log.jsonl cannot be written .*make room"):
        log.append(tmp_path / "gone/log.jsonl", step=1)
