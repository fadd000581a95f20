"""`throng bench`: its report, and one small real run."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import typer
import yaml

from deploy.bundle import ZOO
from models.errors import ConfigError, ThrongError
from service.bench import page, report
from service.bench.clips import Clip, drawn
from service.bench.floor import Decoded, Floor
from service.bench.page import markdown, save
from service.bench.probe import Delivered, Fresh, Probe, Prober
from service.bench.processor import STAGES, Memory, Share, descendants
from service.bench.report import Plan, Report, bench, check
from service.bench.serving import Load, arriving
from service.commands.bench import as_given
from service.commands.bench import bench as command
from service.settings import Settings
from tests.running import ROOT

CANARY = "c4n4ry"
SOURCE = f"rtsp://viewer:{CANARY}@10.0.0.7/stream1"
STREAM = Decoded(
    codec="h264", width=640, height=360, fps=25.0, keyframe_s=2.0, mbit_s=0.5, cpu_ms=0.4,
    key_cpu_ms=2.0,
)  # fmt: skip
FLOOR = Floor([STREAM], cores=2, cameras=200.0, keyframe_cameras=2000.0)
BUSY = {**dict.fromkeys(STAGES, 0.0), "readers": 1.0, "engine": 0.5}


def probe(cameras: int, why: str = "") -> Probe:
    got = Delivered(
        counts_per_s=2.0 * cameras, heatmaps_per_s=0.5 * cameras, share=1.0, worst_share=0.99,
        fresh=Fresh(20.0, 40.0, 60.0), silent=[], cut_off="",
    )  # fmt: skip
    return Probe(
        cameras, 60.0, why, got,
        processor=Share(BUSY, clients=0.1, server=0.0, others=0.2),
        memory=Memory(250.0, [80.0, 90.0], together_mb=300.0),
        counters={"throng_frames_total": 120.0 * cameras},
        runs=("openvino", "int8"),
    )  # fmt: skip


class Scripted(Prober):
    """Holds up to a number of cameras."""

    can = 10

    def probe(self, cameras: int, *, seconds: float) -> Probe:
        return replace(probe(cameras, "" if cameras <= self.can else "slow"), seconds=seconds)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(report, "measure", lambda _: FLOOR)
    monkeypatch.setattr(report, "cold_start_s", lambda _: 1.2)
    return Scripted(Load([SOURCE, "demo"]))


def found_by(prober: Prober, plan: Plan) -> Report:
    return bench(prober, plan, lambda _: None, made_by="throng bench --cameras 10")


def test_what_the_search_finds_is_confirmed_and_measured_at_part_of_the_load(
    scripted: Scripted,
) -> None:
    lines: list[str] = []
    found = bench(
        scripted, Plan(start=4, most=64, seconds=60.0, part=0.7), lines.append, made_by=""
    )
    tried = [(one.cameras, one.seconds, one.held) for one in found.probes]
    assert tried == [
        (4, 15.0, True), (8, 15.0, True), (16, 15.0, False), (12, 15.0, False), (10, 15.0, True),
        (11, 15.0, False), (10, 60.0, True), (7, 60.0, True),
    ]  # fmt: skip
    assert (found.held, found.full.cameras, found.part and found.part.cameras) == (10, 10, 7)
    assert len(lines) == 2 + len(tried)
    assert lines[4].startswith("16 cameras, 15 s: not held: slow")


def test_the_windows_of_a_search_are_as_long_as_slow_cameras_need(scripted: Scripted) -> None:
    slow = Scripted(Load([SOURCE], rate=0.5))
    found = found_by(slow, Plan(start=10, most=10, seconds=60.0, part=0))
    assert [one.seconds for one in found.probes] == [50.0, 60.0]


def test_a_fixed_number_is_not_searched_and_may_not_be_held(scripted: Scripted) -> None:
    found = found_by(scripted, Plan(cameras=12, seconds=5.0))
    assert (found.held, found.full.cameras, found.part) == (0, 12, None)
    assert [one.cameras for one in found.probes] == [12]


def test_a_start_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match="--start 9: wanted at most --most, which is 8"):
        check(Prober(Load(["demo"])), Plan(start=9, most=8))


@pytest.mark.parametrize(
    ("prober", "says"),
    [
        (Prober(Load(["demo"], rate=100)), "bench: defaults.rate"),
        (Prober(Load(["demo"], decode="some")), "decode"),
        (Prober(Load(["demo"], bundle="abacus")), "abacus"),
        (Prober(Load(["demo"]), server=2**30), "--server-pid 1073741824: there is no such"),
    ],
)
def test_what_cannot_be_asked_is_told(prober: Prober, says: str) -> None:
    with pytest.raises(ThrongError, match=says):
        check(prober, Plan())


def test_results_go_to_the_checkout_or_else_to_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page.folder() == ROOT / "service" / "results"
    monkeypatch.setattr(page, "KEPT", tmp_path / "not-installed")
    assert page.folder() == Path("results")
    assert page.writable(tmp_path / "new" / "results").is_dir()


def test_a_report_is_three_files_that_give_no_address_away(
    scripted: Scripted, tmp_path: Path
) -> None:
    found = found_by(scripted, Plan(cameras=10))
    data, text, plot = save(found, tmp_path)
    assert data.name == f"{found.date[:19].replace(':', '')}-{found.commit}.json"
    plain = json.loads(data.read_text())
    assert plain["sources"] == ["rtsp", "demo"]
    assert plain["full"]["core_percent"] == pytest.approx(15.0)
    assert plain["probes"][0]["held"] is True
    for path in (data, text):
        assert CANARY not in path.read_text()
        assert "10.0.0.7" not in path.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_is_told_with_what_was_given_and_no_address() -> None:
    app = typer.Typer()
    app.command()(command)
    given = [SOURCE, "a.mp4", "--rate", "5", "--decode", "all", "--out", "/home/viewer"]
    with typer.main.get_command(app).make_context("bench", given) as context:
        assert (
            as_given(cast("typer.Context", context))
            == "throng bench RTSP FILE --rate 5.0 --decode all"
        )


def test_without_matplotlib_there_is_no_plot(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    saved = save(found_by(scripted, Plan(cameras=10)), tmp_path)
    assert [path.suffix for path in saved] == [".json", ".md"]


def test_the_page_says_what_was_asked_held_and_used(scripted: Scripted) -> None:
    text = markdown(found_by(scripted, Plan(cameras=10)))
    for line in (
        "Made by `throng bench --cameras 10`.",
        "| cameras held | 10 |",
        "| model | throng-m on openvino (int8) |",
        "| decoding every picture | 200.0 cameras, 2000 by key frames only |",
        "| end to end | p50 20 ms, p95 40 ms, p99 60 ms |",
        "| per camera | 15.0 % of a core |",
        "| memory | service 250 MB, readers 80, 90 MB (RSS); together 300 MB |",
        "| end to end at 7 cameras | p50 20 ms, p95 40 ms, p99 60 ms |",
        "| 10 | 60 | yes | 20.0 | 99.0% | 20 | 40 | 60 | 1.50 | 0.20 |",
    ):
        assert line in text


def test_a_service_that_broke_is_on_the_page_with_its_reason(scripted: Scripted) -> None:
    broken = Probe(16, 15.0, "the service ended with -9: it said nothing")
    found = replace(
        found_by(scripted, Plan(cameras=10)), held=0, full=broken, part=None, probes=[broken]
    )
    text = markdown(found)
    assert f"| not held | {broken.why} |" in text
    assert "on no engine (never ready)" in text
    json.dumps(found.plain())


def test_sources_are_dealt_out_in_turn_and_files_are_looped() -> None:
    tree = Load(["a.mp4", SOURCE], rate=5).settings(300)
    Settings.model_validate(tree)
    cameras = list(tree["cameras"].values())
    assert len(cameras) == 300
    assert cameras[:3] == [
        {"source": "a.mp4", "loop": True}, {"source": SOURCE}, {"source": "a.mp4", "loop": True}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cameras", "groups"), [(1, [1]), (3, [1, 2, 3]), (20, [3, 6, 9, 12, 15, 18, 20])]
)
def test_cameras_come_in_groups_and_in_the_end_all(
    cameras: int, groups: list[int], tmp_path: Path
) -> None:
    file, wanted = tmp_path / "throng.yaml", Load([SOURCE]).settings(cameras)
    written = [yaml.safe_load(file.read_text()) for _ in arriving(file, wanted)]
    assert [len(tree["cameras"]) for tree in written] == groups
    assert written[-1] == wanted


@pytest.mark.slow
@pytest.mark.skipif(not (ZOO / "throng-m").is_dir(), reason="no bundle throng-m in the zoo")
def test_a_small_real_run_holds_two_cameras_and_leaves_nothing_behind(tmp_path: Path) -> None:
    clip = drawn(Clip(640, 360, mbit_s=0.5, seconds=2.0), tmp_path)
    others = set(descendants(os.getpid()))
    found = bench(
        Prober(Load([str(clip)])), Plan(cameras=2, seconds=3.0, part=0.5), print, made_by=""
    )
    assert set(descendants(os.getpid())) <= others
    assert found.held == 2, found.full.why
    assert 0.2 < found.cold_start_s < 30
    plain = json.loads(page.save(found, tmp_path)[0].read_text())
    full: Mapping[str, float] = plain["full"]["delivered"]
    assert full["counts_per_s"] == pytest.approx(
        4.0, rel=0.5
    )  # a short clip in a loop, on a busy machine
    assert full["heatmaps_per_s"] > 0
    assert plain["full"]["counters"]["throng_frames_total"] > 0
    assert plain["full"]["memory"]["service_mb"] > 50
    assert sum(plain["full"]["processor"]["stages"].values()) > 0
    assert plain["part"]["cameras"] == 1
    assert plain["floor"]["cameras"] > 2
