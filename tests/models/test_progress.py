"""Progress where there is no terminal: plain lines, few of them."""

import sys

import pytest

from models.progress import progress, tracked


def test_elsewhere_than_on_a_terminal_progress_is_a_line_now_and_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("walking", total=100) as tick:
        for done in range(1, 101):
            tick(done, "fine")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["walking 1/100", "walking 100/100"]
    assert lines[-1].endswith("0.0 min left fine")


def test_on_a_terminal_the_bar_is_drawn_there_and_not_among_the_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("walking", total=2) as tick:
        tick(2)
    said, shown = capsys.readouterr()
    assert said == ""
    assert "walking" in shown


def test_tracking_hands_on_every_item_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked("counting", total=3)("abc")) == ["a", "b", "c"]
    assert "counting 3/3" in capsys.readouterr().err
