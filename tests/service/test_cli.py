"""The command line: one line for every mistake, and an exit code that says whose it is."""

import contextlib
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from deploy.bundle import ZOO
from models.errors import ConfigError
from service import VERSION
from service.commands.check import check_config
from service.commands.serve import bound, url_of
from tests.fakes import encoded, solid
from tests.running import ROOT

SHIPPED = ZOO / "throng-m"
CANARY = "c4n4ry"
pytestmark = pytest.mark.skipif(not SHIPPED.is_dir(), reason="no bundle throng-m in the zoo")


def throng(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def on_a_terminal(*arguments: str | Path) -> str:
    """What a terminal of 80 columns shows."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    with subprocess.Popen(command, cwd=ROOT, stdout=its, stderr=its, env=env) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def mistake(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a mistake."""
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("throng: ")
    return done.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "good.png").write_bytes(encoded(solid(100, (64, 96))))
    (folder / "broken.jpg").write_bytes(encoded(solid(100, (64, 96)), "JPEG")[:300])
    (folder / "text.png").write_text("no picture")
    return folder


def test_fine_settings_are_told_with_their_cameras(tmp_path: Path) -> None:
    file = tmp_path / "throng.yaml"
    file.write_text("cameras: {gate: {source: demo}, arch: {source: demo}}")
    done = throng("check-config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: fine. bundle throng-m; cameras: arch, gate\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cameras: {gate: {source: demo, rat: 2}}", "cameras.gate.rat: unknown key"),
        (f"cameras: {{gate: {{source: [{CANARY}]}}}}", "cameras.gate.source: "),
        ("cameras: {gate: {source: '${NOT_SET_AT_ALL}'}}", "cameras.gate.source: "),
        ("a: &a 1", "without YAML anchors"),
        (None, "cannot be read"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_key_and_exit_two(
    tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "throng.yaml"
    if text:
        file.write_text(text)
    line = mistake(throng("check-config", file), 2)
    assert says in line
    assert str(file) in line
    assert CANARY not in line


def test_serving_with_bad_settings_is_the_same_line(tmp_path: Path) -> None:
    file = tmp_path / "throng.yaml"
    file.write_text("servr: {}")
    assert "servr: unknown key" in mistake(throng("serve", "-c", file), 2)


def test_an_unknown_bundle_is_exit_three(tmp_path: Path) -> None:
    file = tmp_path / "throng.yaml"
    file.write_text("model: {bundle: throng-xxl}")
    assert "no bundle 'throng-xxl'" in mistake(throng("check-config", file), 3)


def test_an_altered_bundle_is_exit_three(tmp_path: Path, pictures: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(SHIPPED, folder)
    with (folder / "model.fp32.onnx").open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    line = mistake(throng("count", pictures / "good.png", "--bundle", folder), 3)
    assert "model.fp32.onnx was altered" in line


@pytest.mark.parametrize("command", [["check-config"], ["serve", "-c"]])
@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("{engine: abacus}", 2, "has no 'abacus'"),
        ("{precision: fp64}", 2, "model.precision"),
        ("{engine: openvino, precision: fp16}", 3, "not in fp16"),
    ],
)
def test_an_engine_or_precision_that_does_not_exist_is_one_line(
    command: list[str], model: str, code: int, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "throng.yaml"
    file.write_text(f"server: {{port: 0}}\nmodel: {model}")
    assert says in mistake(throng(*command, file), code)


def test_settings_for_another_machine_are_fine_and_what_lacks_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    file = tmp_path / "throng.yaml"
    file.write_text("model: {engine: tensorrt}")
    check_config(file)
    said = capsys.readouterr().out
    assert said.startswith(f"{file}: fine. ")
    assert "no engine can run here (tensorrt: " in said


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_is_none_is_refused_at_once(tmp_path: Path, port: str) -> None:
    done = throng("serve", "--port", port, "--data", tmp_path / "data")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_one_line_that_names_it_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = throng("serve", "--port", str(port), "--data", tmp_path / "data")
    says = f"host 127.0.0.1, port {port}: Address already in use; choose --host and --port"
    assert says in mistake(done, 2)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "h" * 100])
def test_a_host_that_is_none_is_one_line_that_names_it(host: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on host {host}, port 8077: "):
        bound(host, 8077)


def test_an_address_of_ipv6_is_a_url_with_brackets() -> None:
    class Six(socket.socket):
        def getsockname(self) -> tuple[str, int, int, int]:
            return "::1", 8077, 0, 0

    with Six() as six, bound("127.0.0.1", 0) as four:
        assert url_of(six) == "http://[::1]:8077"
        assert url_of(four) == f"http://127.0.0.1:{four.getsockname()[1]}"


def test_the_schema_of_the_settings_is_json_and_needs_no_file(tmp_path: Path) -> None:
    for arguments in ([], [tmp_path]):
        schema = json.loads(throng("check-config", *arguments, "--schema").stdout)
        assert "cameras" in schema["properties"]


def test_checking_nothing_is_a_mistake() -> None:
    done = throng("check-config")
    assert done.returncode == 2
    assert "name a YAML file" in done.stderr


def test_pictures_that_cannot_be_counted_do_not_stop_the_others(pictures: Path) -> None:
    names = ["missing.png", "broken.jpg", "text.png", "good.png", "good.png"]
    done = throng("count", "--json", *(pictures / name for name in names))
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(pictures / "good.png")] * 2
    assert set(lines[0]) == {"path", "count", "interval"}
    assert lines[0]["interval"][0] <= lines[0]["count"] <= lines[0]["interval"][1]
    wrong = done.stderr.splitlines()
    assert len(wrong) == 3
    for line, name in zip(wrong, names, strict=False):
        assert line.startswith(f"throng: {pictures / name}: ")


ODD = ("crowd[night].png", "a[/b].png", f"{'long-' * 30}name.png")


@pytest.fixture
def odd(tmp_path: Path, pictures: Path) -> list[Path]:
    """Pictures with names that mean something to rich, or are wider than a terminal."""
    paths = [tmp_path / name for name in ODD]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(pictures / "good.png", path)
    return paths


def test_pictures_are_a_line_each_with_their_whole_names_where_no_terminal_is(
    odd: list[Path],
) -> None:
    done = throng("count", *odd)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in odd]
    assert all(re.fullmatch(r"[\d.]+ [\d]+ to [\d]+ 96 x 64", " ".join(line[1:])) for line in lines)


def test_a_terminal_shows_whole_names_in_a_table(odd: list[Path]) -> None:
    shown = "".join(on_a_terminal("count", *odd).replace("│", " ").split())
    assert "picture" in shown
    for name in ODD:
        assert name in shown


def test_a_name_that_is_no_text_is_counted_and_told(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(pictures / "good.png", path)
    done = throng("count", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path}/\N{REPLACEMENT CHARACTER}.png\t")


def test_a_heatmap_is_written_beside_the_count(pictures: Path, tmp_path: Path) -> None:
    done = throng("count", pictures / "good.png", "--heatmap", tmp_path / "heat.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "96 x 64" in done.stdout
    with Image.open(tmp_path / "heat.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (96, 64))


@pytest.mark.parametrize("name", ["good.png", "heat.jpg"])
def test_a_heatmap_never_takes_the_place_of_its_picture_and_says_what_it_is(
    pictures: Path, name: str
) -> None:
    before = (pictures / "good.png").read_bytes()
    done = throng("count", pictures / "good.png", "--heatmap", pictures / name)
    assert done.returncode == 2
    assert "wanted the name of a new file, *.png" in " ".join(done.stderr.replace("│", " ").split())
    assert (pictures / "good.png").read_bytes() == before
    assert not (pictures / "heat.jpg").exists()


def test_it_says_which_version_it_is() -> None:
    assert throng("--version").stdout == f"throng {VERSION}\n"


def test_a_heatmap_that_cannot_be_written_is_one_line(pictures: Path, tmp_path: Path) -> None:
    done = throng("count", pictures / "good.png", "--heatmap", tmp_path / "no" / "heat.png")
    assert "cannot be written" in mistake(done, 2)


def test_a_heatmap_of_two_pictures_is_a_mistake(pictures: Path) -> None:
    good = pictures / "good.png"
    done = throng("count", good, good, "--heatmap", "x.png")
    assert done.returncode == 2
    assert "takes exactly one picture" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rate", "0"], "defaults.rate"),
        (["--precision", "fp12"], "model.precision"),
        (["--size", "4k"], "--size '4k'"),
        (["--out", "/proc/throng"], "/proc/throng: cannot be written"),
    ],
)
def test_a_bench_that_cannot_be_is_refused_before_a_clip_is_drawn(
    options: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert says in mistake(throng("bench", *options), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["serve"], ["count"], ["check-config"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    done = throng(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_what_stands_in_square_brackets_is_part_of_the_help() -> None:
    said = " ".join(throng("bench", "--help").stdout.replace("│", " ").split())
    assert "[default: a drawn clip]" in said
