"""Speed, measured: the arithmetic of the table, and one real case."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy.bench import Grid, Row, Run, bench, cases_of, in_a_process
from deploy.bench_case import Case, Measured
from deploy.bench_layers import convolutions_share, counting
from deploy.bench_nets import gmac, random_bundle
from deploy.bench_page import figure_of, markdown, save
from deploy.bundle import Bundle, open_bundle, shipped
from deploy.engines import BACKENDS
from deploy.engines import openvino as on_openvino
from deploy.peak import peaks
from models.checkpoint import load_checkpoint
from models.errors import ConfigError
from models.nets import Pixels

MEASURED = Measured(
    frames_per_s=50.0, p50_ms=20.0, p99_ms=30.0, batches=250, cpu_ms=20.0, others=0.1, load_s=0.2,
    first_s=0.4, rss_mb=150.0, peak_rss_mb=160.0, convolutions_ms=16.0,
    count=1.5,
)  # fmt: skip
CASE = Case("/tmp/somewhere/tiny", "openvino", "fp32", height=64, width=96, batch=1, lanes=1)
PEAK = {"fp32": 1e11, "int8": 4e12}


@pytest.fixture
def engine() -> str:
    """One that can run here."""
    for name in BACKENDS.names():
        if BACKENDS[name].unavailable() is None:
            return name
    pytest.skip("no engine is installed")


def case_of(bundle: Bundle, engine: str) -> Case:
    return replace(CASE, bundle=str(bundle.folder), engine=engine, rounds=2, round_s=0.05)


def row(name: str = "tiny", *, cpu_ms: float = 20.0, **case: object) -> Row:
    return Row(
        name=name,
        case=replace(CASE, **case),  # type: ignore[arg-type]  # a case's own fields
        gmac=1.0,
        load_average=0.5,
        validation={"sha": 90.0, "dtd": 0.0},
        result=replace(MEASURED, cpu_ms=cpu_ms),
        error=None,
    )


def run_of(*rows: Row) -> Run:
    machine = {"processor": "A", "cores": 2, "memory_gb": 8, "system": "Linux", "python": "3.11"}
    return Run("2026-01-02T03:04:05+00:00", "abc", machine, {"numpy": "2.0"}, PEAK, rows)


def test_multiply_adds_of_the_graph_are_those_that_the_net_does(tiny: Bundle) -> None:
    for bundle in (tiny, *map(open_bundle, shipped())):
        net = load_checkpoint(bundle.weights).net
        done: list[int] = []

        def count(conv: nn.Module, _: object, out: torch.Tensor, into: list[int] = done) -> None:
            assert isinstance(conv, nn.Conv2d)
            into.append(out.numel() * conv.weight[0].numel())

        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
        with torch.inference_mode():
            Pixels(net).eval()(torch.zeros(1, 64, 96, 3, dtype=torch.uint8))
        assert gmac(bundle.model("fp32"), height=64, width=96) == pytest.approx(sum(done) / 1e9)


@pytest.mark.slow
def test_a_net_of_random_weights_is_a_bundle_that_claims_nothing(tmp_path: Path) -> None:
    bundle = random_bundle("csrnet:ratio=16", tmp_path / "net")
    assert bundle.name == "csrnet:ratio=16"
    assert bundle.manifest.validation == {}
    assert bundle.manifest.arguments == {"ratio": 16}
    assert set(bundle.manifest.precisions) == {"fp32", "int8"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mcnn", "int8 wants plain convolutions of the net with a bias"),
        ("reviewed:ratio=16", "int8 wants a net that runs"),
    ],
)
def test_a_net_that_int8_cannot_have_is_a_bundle_in_fp32(
    spec: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = random_bundle(spec, tmp_path / "net")
    assert set(bundle.manifest.precisions) == {"fp32"}
    assert says in caplog.text
    assert gmac(bundle.model("fp32"), height=64, width=96) > 0


@pytest.mark.slow
def test_convolutions_that_enlarge_are_counted_too(tmp_path: Path) -> None:
    bundle = random_bundle("sanet:ratio=4", tmp_path / "net")
    done = 0

    def count(conv: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        nonlocal done
        enlarges = isinstance(conv, nn.ConvTranspose2d)
        assert isinstance(conv.weight, torch.Tensor)
        done += (given[0] if enlarges else out).numel() * conv.weight[0].numel()

    net = load_checkpoint(bundle.weights).net.eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        net(torch.zeros(1, 3, 64, 96))
    assert gmac(bundle.model("fp32"), height=64, width=96) == pytest.approx(done / 1e9)


@pytest.mark.parametrize("spec", ["abacus", "csrnet:ratio", "csrnet:ratio=x", "csrnet:blub=3"])
def test_a_net_that_is_not_there_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        random_bundle(spec, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_every_combination_is_a_case(tiny: Bundle, engine: str) -> None:
    grid = Grid((engine,), ("fp32",), sizes=("64x32", "96x64"), batches=(1, 2), lanes=(1, 2, 3))
    cases = [case for _, case in cases_of([tiny], grid)]
    assert len(set(cases)) == len(cases) == 2 * 2 * 3
    assert {(case.width, case.height) for case in cases} == {(64, 32), (96, 64)}


@pytest.mark.parametrize("size", ["64", "64x", "x64", "60x64", "64x60", "0x64", "-64x64", "axb"])
def test_a_size_that_no_frame_can_have_is_refused(size: str, tiny: Bundle, engine: str) -> None:
    with pytest.raises(ConfigError, match="wanted WIDTHxHEIGHT, multiples of"):
        cases_of([tiny], Grid((engine,), sizes=(size,)))


def test_nothing_to_measure_is_said(tiny: Bundle, engine: str) -> None:
    with pytest.raises(ConfigError, match="no case is left"):
        cases_of([tiny], Grid((engine,), ("fp3",)))


def test_a_case_is_measured_in_a_process_of_its_own(tiny: Bundle, engine: str) -> None:
    came = in_a_process(case_of(tiny, engine))
    assert isinstance(came, Measured)
    assert came.batches >= 6
    assert 0 < came.p50_ms <= came.p99_ms
    assert came.frames_per_s == pytest.approx(1e3 / came.p50_ms, rel=0.9)
    assert 0 < came.load_s < came.first_s
    assert 0 < came.rss_mb <= came.peak_rss_mb
    assert came.cpu_ms > 0


def test_a_case_that_fails_is_a_row_with_one_line_and_the_others_go_on(
    tiny: Bundle, engine: str, tmp_path: Path
) -> None:
    broken = Bundle(Path(shutil.copytree(tiny.folder, tmp_path / "broken")), tiny.manifest)
    (broken.folder / "weights.safetensors").write_bytes(b"altered")
    cases = [(broken, case_of(broken, engine)), (tiny, case_of(tiny, engine))]
    run = bench(cases, peak=lambda: {})
    assert run.rows[0].result is None
    assert "was altered" in str(run.rows[0].error)
    assert "\n" not in str(run.rows[0].error)
    assert run.rows[1].result is not None
    assert "- failed: tiny" in markdown(run)


def test_the_peak_is_the_better_of_before_and_after(tiny: Bundle) -> None:
    probes: Iterator[dict[str, float]] = iter([{"fp32": 2.0, "bf16": 5.0}, {"fp32": 3.0}])
    run = bench([(tiny, CASE)], measure=lambda _: MEASURED, peak=lambda: next(probes))
    assert run.peak == {"fp32": 3.0, "bf16": 5.0}
    assert run.rows[0].validation == {"sha": 10.0, "dtd": 1.0}


def test_a_share_of_the_peak_is_work_by_processor_time() -> None:
    assert row().share_of_peak(PEAK) == pytest.approx(0.5)  # 1e9 in 20 ms, of 1e11 a second
    assert row(cpu_ms=5.0).share_of_peak(PEAK) is None  # a GPU did it
    assert row(precision="bf16").share_of_peak(PEAK) is None
    assert replace(row(), result=None).share_of_peak(PEAK) is None


def test_a_share_in_convolutions_leaves_out_what_is_around_them() -> None:
    assert row().share_in_convolutions(PEAK) == pytest.approx(0.625)  # 16 of the 20 ms
    assert row(batch=2).share_in_convolutions({"fp32": 2e11}) == pytest.approx(0.625)
    uncounted = replace(MEASURED, convolutions_ms=None)
    assert replace(row(), result=uncounted).share_in_convolutions(PEAK) is None


def test_convolutions_that_take_longer_than_the_frame_give_a_dash() -> None:
    impossible = row(cpu_ms=15.9)  # the convolutions took 16
    assert impossible.share_of_peak(PEAK) == pytest.approx(1 / 1.59)
    assert impossible.share_in_convolutions(PEAK) is None
    run = run_of(impossible)
    assert "| 63% | - |" in markdown(run)
    assert run.plain()["rows"][0]["share_in_convolutions"] is None


def test_layers_are_counted_in_the_graph_that_the_engine_runs(tiny_int8: Bundle) -> None:
    if BACKENDS["openvino"].unavailable():
        pytest.skip("openvino is not installed")
    frames_NHW3 = np.zeros((1, 48, 64, 3), np.uint8)
    for precision in BACKENDS["openvino"].precisions(tiny_int8):
        engine = on_openvino.OpenVinoEngine(tiny_int8, precision=precision, lanes=1)
        graphs = (
            engine._compile(frames_NHW3.shape),
            counting(tiny_int8, precision, (1, 48, 64, 3)),
        )
        engine.close()
        ours, counted = ([graph.get_property(key) for key in engine._options] for graph in graphs)
        assert ours == counted
        kinds = [
            [
                op.get_rt_info()["layerType"].astype(str)
                for op in graph.get_runtime_model().get_ops()
            ]
            for graph in graphs
        ]
        assert kinds[0].count("Convolution") == kinds[1].count("Convolution") > 0
        assert not graphs[1].get_property("ENABLE_CPU_PINNING")
        assert 0 < convolutions_share(tiny_int8, precision, frames_NHW3) < 1


def test_ratios_are_to_the_reference_in_int8_and_otherwise_alike() -> None:
    rows = (
        row(cpu_ms=5.0, precision="int8"),
        row("ref", cpu_ms=10.0, precision="int8", bundle="/elsewhere"),
        row("ref", cpu_ms=1.0, precision="int8", lanes=2),
        row(cpu_ms=5.0, batch=4),
    )
    table = [line.split(" | ") for line in markdown(run_of(*rows), reference="ref").splitlines()]
    cells = [line[9] for line in table if len(line) == 17][2:]
    assert cells == ["0.50", "1.00", "1.00", ""]
    assert "ratio: CPU ms/frame divided by that of a ref" in markdown(run_of(*rows))


def test_a_saved_run_is_dated_and_says_nothing_of_folders(tmp_path: Path) -> None:
    paths = save(run_of(row(), row("other", precision="int8")), tmp_path)
    assert [path.name for path in paths] == [
        f"2026-01-02T030405-abc.{e}" for e in ("json", "md", "png")
    ]
    saved = json.loads(paths[0].read_text())
    assert saved["rows"][0]["share_of_peak"] == pytest.approx(0.5)
    assert saved["rows"][0]["result"]["cpu_ms"] == 20.0
    assert "somewhere" not in paths[0].read_text() + paths[1].read_text()
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_the_table_says_how_long_an_engine_loads_and_answers_first() -> None:
    head, _, line = [
        [cell.strip() for cell in line.split("|")]
        for line in markdown(run_of(row())).splitlines()
        if line.startswith("|")
    ]
    cells = dict(zip(head, line, strict=True))
    assert (cells["load s"], cells["first s"]) == ("0.20", "0.40")


def test_nets_of_random_weights_are_in_the_plot_at_their_cost() -> None:
    csrnet = replace(row("csrnet", cpu_ms=120.0, precision="int8"), validation={})
    again = replace(csrnet, case=replace(csrnet.case, lanes=2))
    failed = replace(csrnet, name="failed", result=None)
    figure = figure_of([row(), csrnet, again, failed], ["sha", "dtd"])
    for panel in figure.axes[:2]:
        dashed = [line for line in panel.get_lines() if line.get_linestyle() == "--"]
        assert [np.asarray(line.get_xdata()).tolist() for line in dashed] == [[120.0, 120.0]]
        assert "csrnet openvino int8" in [text.get_text() for text in panel.texts]
        assert "random weights, untrained" in panel.get_legend_handles_labels()[1]


def test_without_validation_errors_there_is_no_plot(tmp_path: Path) -> None:
    paths = save(run_of(replace(row(), validation={})), tmp_path)
    assert [path.suffix for path in paths] == [".json", ".md"]


def test_the_machine_has_a_peak_or_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = peaks()
    assert set(measured) <= {"fp32", "bf16", "int8"}
    ordered = [measured[key] for key in ("fp32", "bf16", "int8") if key in measured]
    assert ordered == sorted(ordered)
    assert all(macs > 1e9 for macs in ordered)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert peaks() == {}
