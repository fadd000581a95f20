import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.data import Image, Sample
from distill.evaluate import Counted
from distill.plots import draw_curves, draw_scatter
from distill.report import draw_curve, draw_predictions
from models.nets import NETS

PNG = b"\x89PNG"


class Blank(Sample):
    """A picture that needs no disk."""

    def read(self) -> Image:
        return np.zeros((40, 56, 3), np.uint8)


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """What was drawn, in place of a file."""
    drawn: list[Axes] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
    return drawn


def _lines(panel: Axes) -> dict[str, list[tuple[float, float]]]:
    return {
        f"{line.get_label()}": [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]
        for line in panel.get_lines()
    }


def test_a_row_of_predictions_shows_picture_truth_and_count(
    tmp_path: Path, panels: list[Axes]
) -> None:
    torch.manual_seed(0)
    samples = [Blank(f"sha_{i}", Path(f"{i}"), np.ones((i, 2), np.float32)) for i in (2, 3)]
    draw_predictions(samples, NETS["throng-s"](width=8), tmp_path / "p.png")
    titles = [panel.get_title() for panel in panels]
    assert len(titles) == 6
    assert titles[3:5] == ["sha_3", "true: 3.0"]
    assert titles[5].startswith("predicted: ")


def test_a_run_s_curve_has_a_line_a_part_over_its_steps(tmp_path: Path, panels: list[Axes]) -> None:
    log = tmp_path / "log.jsonl"
    entries = [{"step": s, "validation": {"sha": {"mae": 400 / s}}} for s in (2, 4)]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in [{"step": 1}, *entries]))
    draw_curve(log, tmp_path / "c.png")
    assert _lines(panels[0]) == {"sha: 100.0": [(2, 200), (4, 100)]}


def test_curves_of_a_table_have_a_panel_a_part_and_a_colour_a_row(
    tmp_path: Path, panels: list[Axes]
) -> None:
    runs: Sequence[Sequence[tuple[int, float]]] = [[(80, 9.0), (160, 8.0)], [(80, 10.0)]]
    draw_curves({"A": {"taught": runs, "alone": [[]]}, "B": {"taught": runs[:1]}}, tmp_path / "c")
    first, second = panels
    assert (first.get_title(), second.get_title()) == ("A", "B")
    one, other, alone = first.get_lines()
    assert np.asarray(one.get_xydata()).tolist() == [[80, 9], [160, 8]]
    assert one.get_color() == other.get_color() != alone.get_color()
    assert [line.get_label() for line in (one, alone)] == ["taught", "alone"]
    (legend,) = second.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["taught"]


def test_a_scatter_sets_counts_against_heads(tmp_path: Path, panels: list[Axes]) -> None:
    counted = [Counted("a", 12.5, 10), Counted("b", 0.0, 3)]
    draw_scatter({"A": {"taught": counted}}, tmp_path / "s.png")
    assert _lines(panels[0])["taught"] == [(10, 12.5), (3, 0)]


def test_plots_are_png_files_and_show_no_picture(tmp_path: Path) -> None:
    draw_scatter({"A": {"taught": [Counted("a", 2.0, 1)]}}, tmp_path / "s.png")
    draw_curves({"A": {"taught": [[(1, 2.0)]]}}, tmp_path / "c.png")
    for name in ("s.png", "c.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
        assert cv2.imread(str(tmp_path / name)) is not None
