"""One YAML file: typos are refused by name, and no message ever holds a value."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from service.settings import DEMO, Settings, load_settings, settings_of

CANARY = "c4n4ry-p4ssw0rd"
BOMB = "\n".join(
    ["a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]"]
    + [
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "throng.yaml"


def problem_in(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    says = str(caught.value)
    assert "\n" not in says
    assert says.startswith(str(file))
    return says.removeprefix(str(file)).removeprefix(": ")


def test_without_a_file_the_demo_runs() -> None:
    assert load_settings(None) is DEMO
    assert list(DEMO.cameras) == ["demo"]


def numbers(tree: Any) -> Iterator[tuple[str, float]]:
    """Every number of the settings, by the path of its key."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


@pytest.mark.parametrize("key", [key for key, _ in numbers(Settings().model_dump())])
@pytest.mark.parametrize("value", [1e308, 10**30, float("inf"), float("nan"), 0, -1])
def test_every_number_has_bounds(key: str, value: float) -> None:
    if (key, value) == ("server.port", 0):
        return  # any free one
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=rf"^test: {key}: "):
        settings_of({section: {name: value}}, "test")


def test_an_empty_file_means_no_cameras_and_every_default(file: Path) -> None:
    file.write_text("")
    assert load_settings(file) == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("servr: {}", "servr: unknown key"),
        ("server: {prot: 8000}", "server.prot: unknown key"),
        ("cameras: {gate: {source: demo, rat: 2}}", "cameras.gate.rat: unknown key"),
        ("defaults: {rat: 2}\ncameras: {gate: {source: demo}}", "defaults.rat: unknown key"),
        ("cameras: {gate: {}}", "cameras.gate.source: Field required"),
        ("server: {port: 70000}", "server.port: Input should be less than or equal to 65535"),
        ("model: {precision: int3}", "model.precision: Input should be 'auto', 'fp32'"),
        ("defaults: {rate: .nan}", "defaults.rate:"),
        ("defaults: {rate: 0}", "defaults.rate:"),
        ("defaults: {size: [100000, 100000]}", "defaults.size.0:"),
        ("defaults: [1]\ncameras: {gate: {source: demo}}", "defaults:"),
        ("cameras: [gate]", "cameras:"),
        ("cameras: {gate: demo}", "cameras.gate:"),
        ("cameras: {gate: {source: 7}}", "cameras.gate.source: Input should be a valid string"),
        ("- cameras", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_told_by_the_path_of_its_key(file: Path, text: str, says: str) -> None:
    assert problem_in(file, text).startswith(says)


@pytest.mark.parametrize(
    "camera",
    [
        f"{{source: 'rtsp://u:{CANARY}@h/', rate: 0}}",
        f"{{source: ['rtsp://u:{CANARY}@h/']}}",
        f"{{source: {{rtsp: '{CANARY}'}}}}",
        f"'rtsp://u:{CANARY}@h/'",
        f"{{source: demo, rate: '{CANARY}'}}",
        f"{{source: demo, zones: {{a: '{CANARY}'}}}}",
        f"{{source: rtsp://u:{CANARY}@h/, : :}}",
        f'{{source: "rtsp://u:{CANARY}@h/}}',
    ],
)
def test_no_message_holds_a_value(file: Path, camera: str) -> None:
    assert CANARY not in problem_in(file, f"cameras:\n  gate: {camera}\n")


def test_a_source_is_not_in_the_repr_of_settings() -> None:
    settings = settings_of({"cameras": {"gate": {"source": f"rtsp://u:{CANARY}@h/"}}}, "test")
    assert CANARY not in repr(settings)
    assert CANARY not in settings.model_dump_json()


def test_variables_and_files_are_filled_in_at_any_depth(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_HOST", "10.0.0.7")
    (tmp_path / "password").write_text(f"{CANARY}\n")
    file.write_text(
        f"cameras: {{gate: {{source: 'rtsp://u:${{file:{tmp_path}/password}}@${{GATE_HOST}}/'}}}}"
    )
    source = load_settings(file).cameras["gate"].source.get_secret_value()
    assert source == f"rtsp://u:{CANARY}@10.0.0.7/"


def test_a_variable_that_is_not_set_names_the_key(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    says = problem_in(file, "cameras: {gate: {source: '${NOT_SET}'}}")
    assert says == "cameras.gate.source: the environment variable NOT_SET is not set"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_secret_file_that_cannot_be_read_names_the_key(
    file: Path, tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "secret"
    if content:
        secret.write_bytes(content)
    says = problem_in(file, f"cameras: {{gate: {{source: '${{file:{secret}}}'}}}}")
    assert says == f"cameras.gate.source: the file {secret} cannot be read"


def test_cameras_take_the_defaults_and_their_entries_override() -> None:
    tree = {
        "defaults": {"rate": 5, "preview": "none"},
        "cameras": {"gate": {"source": "demo"}, "hall": {"source": "demo", "rate": 1}},
    }
    cameras = settings_of(tree, "test").cameras
    assert (cameras["gate"].rate, cameras["gate"].preview) == (5, "none")
    assert (cameras["hall"].rate, cameras["hall"].preview) == (1, "none")


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &x 1\nb: *x",
        "a: &1 2",
        "a: [&x 1,*x]",
        "{&x a: 1}",
        "&top server: {}",
        "defaults: &d {rate: 1}\ncameras: {gate: {<<: *d, source: demo}}",
        "a: 'quoted'\nb: &x 1",
    ],
)
def test_anchors_and_the_billion_laughs_are_refused(file: Path, text: str) -> None:
    assert "without YAML anchors" in problem_in(file, text)


def test_an_ampersand_inside_text_is_no_anchor(file: Path) -> None:
    file.write_text("cameras: {gate: {source: 'rtsp://h/?a=1 &b=*c'}}  # &d *e")
    assert "gate" in load_settings(file).cameras


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\x00",
        "when: 2026-99-99",
        "a: " + "[" * 1_500,
        "? [a]\n: b",
        "!!python/x y",
        "rate: !!int ''",
        "!!bool x",
        "!!timestamp x",
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(file: Path, text: str) -> None:
    assert "not valid YAML" in problem_in(file, text)


def test_a_huge_file_is_refused(file: Path) -> None:
    assert "under 1 MB" in problem_in(file, "#" * 1_000_001)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_file_that_cannot_be_read_is_told_in_one_line(file: Path, content: bytes | None) -> None:
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"throng\.yaml: cannot be read \("):
        load_settings(file)


@pytest.mark.parametrize(
    "polygon",
    [
        [[0, 0], [1, 0]],
        [[0, 0], [1.01, 0], [1, 1]],
        [[0, 0], [-0.01, 0], [1, 1]],
        [[0, 0], [float("nan"), 0], [1, 1]],
        [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
        [[0.5, 0.5]] * 1000,
    ],
)
def test_a_polygon_that_is_none_of_the_picture_is_refused(polygon: list[list[float]]) -> None:
    tree = {"cameras": {"gate": {"source": "demo", "zones": {"all": {"polygon": polygon}}}}}
    with pytest.raises(ConfigError, match=r"^test: cameras\.gate\.zones\.all\.polygon"):
        settings_of(tree, "test")


def test_a_key_that_is_there_twice_is_refused_with_both_its_lines(file: Path) -> None:
    says = problem_in(file, "cameras:\n  gate: {source: demo}\n  hall: {source: demo}\n  gate: {}")
    assert says == ", line 4: a key that line 2 has already"


@pytest.mark.parametrize(
    "secret", ["plain", "sl/ash", "ha#sh", "qu?ery", "50%41off", "at@sign", "co:lon", "a b", "ü"]
)
def test_a_password_may_hold_any_character(
    file: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("SECRET", secret)
    monkeypatch.setenv("HOST", "10.0.0.7:554")
    file.write_text(
        "cameras: {a: {source: 'rtsp://u:${SECRET}@${HOST}/live/1'}, b: {source: '${HOST}'}}"
    )
    cameras = load_settings(file).cameras
    parts = urlsplit(cameras["a"].source.get_secret_value())
    assert unquote(parts.password or "") == secret
    assert (parts.hostname, parts.port, parts.path) == ("10.0.0.7", 554, "/live/1")
    assert cameras["b"].source.get_secret_value() == "10.0.0.7:554"


@pytest.mark.parametrize(
    "source", ["", "rtps://h/s", "rtmp://h/s", "rtsp://\ud800/", "rtsp://h/\0", "a\nb", "file://x"]
)
def test_what_can_be_no_source_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.gate\.source: .*must be"):
        settings_of({"cameras": {"gate": {"source": source}}}, "test")


@pytest.mark.parametrize("name", ["", "\ud800", "a\nb", "x" * 65])
def test_a_zone_s_name_is_a_word_or_two_that_can_be_shown(name: str) -> None:
    zone = {"polygon": [[0, 0], [1, 0], [1, 1]]}
    tree = {"cameras": {"gate": {"source": "demo", "zones": {"Platform 1": zone, name: zone}}}}
    with pytest.raises(ConfigError, match=r"cameras\.gate\.zones"):
        settings_of(tree, "test")


@pytest.mark.parametrize("name", ["a", "gate-1", "North.Gate_2", "0", "x" * 64])
def test_plain_camera_names_are_taken(name: str) -> None:
    assert name in settings_of({"cameras": {name: {"source": "demo"}}}, "test").cameras


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "..", "a\n", "ä", "x" * 65, "a\x00"])
def test_other_camera_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="camera name"):
        settings_of({"cameras": {name: {"source": "demo"}}}, "test")


def test_more_cameras_than_the_limit_are_refused_before_anything_starts() -> None:
    tree: dict[str, Any] = {"server": {"max_cameras": 1}, "cameras": {"a": {"source": "demo"}}}
    assert settings_of(tree, "test").cameras
    tree["cameras"]["b"] = {"source": "demo"}
    with pytest.raises(ConfigError, match=r"2 cameras, and server\.max_cameras is 1"):
        settings_of(tree, "test")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["server", "cameras", "defaults", "gate", "source", "zones", "x"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_any_tree_gives_settings_or_a_config_error(tree: object) -> None:
    with contextlib.suppress(ConfigError):
        settings_of(tree, "test")
