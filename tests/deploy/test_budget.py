"""An engine counts like the net, by the manifest, or it is not taken."""

import logging
from pathlib import Path

import pytest

from deploy.budget import excess, judged, unproven
from deploy.bundle import Bundle, ParityRow, open_bundle, shipped
from deploy.engines import Precision, load_engine, proven
from deploy.engines import openvino as on_openvino
from models.errors import EngineError, ParityError

ROW = ParityRow(
    engine="openvino", precision="int8", pictures=90, worst_count_gap=0.02, worst_cell_gap=0.1,
    mae_lost=0.01, mae_lost_by_part={"sha": 0.004},
)  # fmt: skip
OVER = ROW.model_copy(update={"mae_lost": 0.02})
UNJUDGED = ROW.model_copy(update={"mae_lost": None, "mae_lost_by_part": {}})


class ThreePrecisions:
    """A backend that says in which precision it was loaded."""

    asked = ""

    def unavailable(self) -> None:
        return None

    def precisions(self, _: Bundle) -> list[Precision]:
        return ["fp32", "bf16", "int8"]

    def load(self, _: Bundle, *, precision: Precision, lanes: int | None = None) -> None:
        assert lanes is None
        self.asked = precision


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> ThreePrecisions:
    fake = ThreePrecisions()
    monkeypatch.setattr(on_openvino, "backend", fake)
    return fake


def with_rows(bundle: Bundle, *rows: ParityRow) -> Bundle:
    return Bundle(bundle.folder, bundle.manifest.model_copy(update={"parity": rows}))


def row(precision: str, **figures: object) -> ParityRow:
    return ROW.model_copy(update={"precision": precision, **figures})


def test_auto_takes_int8_that_was_held_to_the_net_and_says_nothing(
    tiny_int8: Bundle, backend: ThreePrecisions, caplog: pytest.LogCaptureFixture
) -> None:
    load_engine(with_rows(tiny_int8, ROW), name="openvino")
    assert backend.asked == "int8"
    load_engine(with_rows(tiny_int8, ROW), name="openvino", precision="fp32")
    assert backend.asked == "fp32"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "it was never held to the net: run `throng-deploy parity /"),
        ([row("int8", pictures=9)], "it was never held to the net"),
        ([ROW.model_copy(update={"engine": "onnxruntime"})], "it was never held to the net"),
        ([row("fp32", worst_count_gap=0.0, mae_lost=0.0)], "it was never held to the net"),
        ([UNJUDGED], "it was never held to the net"),
        ([OVER], "MAE lost 2.000% on 90 pictures, the budget is 1.5%"),
        ([row("int8", mae_lost_by_part={"shb": 0.03})], "MAE lost on shb 3.000%"),
    ],
    ids=[
        "no row",
        "few pictures",
        "another engine's",
        "another precision's",
        "unjudged",
        "over",
        "part over",
    ],
)
def test_int8_that_does_not_hold_is_passed_over_by_auto_and_refused_by_name(
    tiny_int8: Bundle,
    backend: ThreePrecisions,
    caplog: pytest.LogCaptureFixture,
    rows: list[ParityRow],
    why: str,
) -> None:
    bundle = with_rows(tiny_int8, *rows)
    load_engine(bundle, name="openvino")
    assert backend.asked == "bf16"
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    said = warning.getMessage()
    assert said.startswith("openvino runs bundle tiny in bf16, not in int8: ")
    assert why in said
    with pytest.raises(ParityError) as refused:
        load_engine(bundle, name="openvino", precision="int8")
    said = str(refused.value)
    assert said.startswith("openvino may not run bundle tiny, not in int8: ")
    assert why in said
    assert f"`throng-deploy parity {tiny_int8.folder} --pictures FOLDER`" in said
    assert "\n" not in said


def test_a_coarser_fp32_needs_no_row_but_may_not_break_its_budget(tiny: Bundle) -> None:
    assert proven(tiny, "openvino", "bf16") == "bf16"
    over = with_rows(tiny, row("bf16", mae_lost=0.006), ROW)
    assert unproven(over, "openvino", "bf16")
    with pytest.raises(ParityError, match=r"MAE lost 0\.600% on 90 pictures, the budget is 0\.5%"):
        load_engine(over, name="openvino", precision="bf16")


def test_an_engine_that_holds_in_nothing_is_refused_in_one_line(tiny_int8: Bundle) -> None:
    off = {"worst_count_gap": 0.5, "mae_lost": 0.5}
    with pytest.raises(ParityError, match=r"not in int8: .*; not in bf16: .*; not in fp32: "):
        load_engine(with_rows(tiny_int8, row("fp32", **off), row("bf16", **off)), name="openvino")


def test_a_precision_that_is_not_there_is_still_refused_as_such(tiny_int8: Bundle) -> None:
    with pytest.raises(EngineError, match="in fp32, bf16, int8, not in fp16: set precision"):
        load_engine(tiny_int8, name="openvino", precision="fp16")


def test_what_ships_holds_its_budgets_and_its_int8_was_measured(shipped_models: list[Path]) -> None:
    assert shipped_models
    for name in shipped():
        bundle = open_bundle(name)
        rows = bundle.manifest.parity
        assert [excess(one) for one in rows] == [None] * len(rows)
        assert all(map(judged, rows))
        for engine in ("openvino", "onnxruntime"):
            assert {r.precision for r in rows if r.engine == engine} >= {"fp32", "int8"}
