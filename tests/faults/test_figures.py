"""The table of faults: none may vanish from it."""

from pathlib import Path
from typing import Literal

import pytest

from tests.faults.figures import Fault, Figure, Outcomes, dump, load, page

FAULT = Fault("reset", "proxy", 1, 5, shown=("down",))


def told(
    outcome: Literal["passed", "failed", "skipped"], why: str | tuple[str, int, str] = ""
) -> pytest.TestReport:
    name = "tests/faults/test_x.py::test_that_it_is_seen"
    return pytest.TestReport(name, ("", 0, ""), {}, outcome, why, "call")


def test_a_fault_that_failed_or_was_not_made_is_named_below_the_table() -> None:
    outcomes = Outcomes()
    outcomes.pytest_runtest_logreport(told("passed"))
    outcomes.pytest_runtest_logreport(told("failed", "a long story"))
    outcomes.pytest_runtest_logreport(told("skipped", ("test_x.py", 7, "Skipped: no namespace")))
    assert page([Figure(FAULT, "down", 0.5, 2.0)], outcomes).splitlines()[-4:] == [
        "| reset | proxy | 0.5 (1) | 2.0 (5) | - | down | - |  |",
        "",
        "- **FAILED**: test_that_it_is_seen",
        "- not made: test_that_it_is_seen (Skipped: no namespace)",
    ]


def test_a_figure_over_its_limit_is_bold_and_fails(tmp_path: Path) -> None:
    dump([Figure(FAULT, "down", 0.5, 6.0)], tmp_path / "figures.json")
    [figure] = load(tmp_path / "figures.json")
    assert "**6.0 (5)**" in figure.row()
    with pytest.raises(AssertionError, match="recovered 6"):
        figure.check()
