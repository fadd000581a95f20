"""What a service holds over time: the arithmetic, and a soak of three minutes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.soak import EVERY_S, Sample, Soak, level, save, slope, soak

HOUR = round(3600 / EVERY_S)
MINUTES = 3.0
MOST_MIB = 2.0  # between the medians of both warm halves: 100 MiB an hour, and no less shows here


def samples(memory: Callable[[float], float]) -> list[Sample]:
    """An hour of them; `memory` by the hour."""
    return [
        Sample(number * EVERY_S, memory(number / HOUR), 80.0, 40, 17, 2) for number in range(HOUR)
    ]


def test_a_leak_has_its_slope_and_wild_samples_do_not_move_it() -> None:
    leak = samples(lambda at_h: 200 + 5 * at_h + (50 if round(at_h * HOUR) % 20 == 0 else 0))
    assert slope(leak, "service_mib") == pytest.approx(5, abs=0.5)
    assert slope(leak, "files") == 0


@pytest.mark.parametrize("at", [0.05, 0.3, 0.45])
def test_a_step_is_none_in_the_second_half(at: float) -> None:
    seen = Soak("", "", 60.0, 1.0, samples(lambda at_h: 200 + 3 * (at_h > at)))
    assert slope(seen.halves[1], "service_mib") == 0


def test_samples_page_and_plot_are_saved_by_date_and_commit(tmp_path: Path) -> None:
    seen = Soak("2026-01-02T03:04:05+00:00", "abc", 60.0, 9.0, samples(lambda at_h: 200 + at_h))
    data, text, plot = save(seen, tmp_path)
    assert data.name == "2026-01-02T030405-soak-abc.json"
    plain = json.loads(data.read_text())
    assert len(plain["samples"]) == HOUR
    assert plain["machine"]["cores"] > 0
    assert "| memory of the service, MiB | 200.1 | 201.0 | +1.00 | +1.00 |" in text.read_text()
    assert plot.name in text.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(60 * MINUTES + 120)
def test_a_service_holds_after_three_minutes_what_it_held_after_one() -> None:
    seen = soak(MINUTES)
    early, late = seen.halves
    for of in ("service_mib", "readers_mib"):
        assert level(late, of) - level(early, of) <= MOST_MIB
    for of in ("files", "threads", "processes"):
        assert level(late, of) <= level(early, of)
