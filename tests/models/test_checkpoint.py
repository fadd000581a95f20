import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import DataError
from models.nets import NETS

SMALL: Mapping[str, Any] = {"width": 8}
FACTS: Mapping[str, Any] = {"step": 7, "recipe": {"net": "throng-s"}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, NETS["throng-s"](**SMALL), name="throng-s", arguments=SMALL, facts=FACTS)
    return path


def test_a_net_comes_back_as_it_was_saved_ready_to_count(saved: Path) -> None:
    torch.manual_seed(0)
    before = NETS["throng-s"](**SMALL).eval()
    checkpoint = load_checkpoint(saved)
    assert (checkpoint.name, checkpoint.arguments) == ("throng-s", SMALL)
    assert checkpoint.facts == FACTS
    assert not checkpoint.net.training
    frames = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(checkpoint.net(frames), before(frames), rtol=0, atol=0)


def test_nothing_half_written_is_left_beside_a_checkpoint(saved: Path) -> None:
    assert list(saved.parent.iterdir()) == [saved]


def test_a_net_in_another_memory_format_is_saved_all_the_same(saved: Path) -> None:
    net = load_checkpoint(saved).net
    weights = net.state_dict()
    channels_last = NETS["throng-s"](**SMALL)
    channels_last.load_state_dict(weights)
    channels_last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
    save_checkpoint(saved, channels_last, name="throng-s", arguments=SMALL, facts=FACTS)
    again = load_checkpoint(saved).net.state_dict()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    went_off, path = tmp_path / "went-off", tmp_path / "best.safetensors"
    path.write_bytes(pickle.dumps(Bomb(went_off)))
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(path)
    torch.save(Bomb(went_off), path)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(path)
    assert not went_off.exists()
    pickle.loads(pickle.dumps(Bomb(went_off)))
    assert went_off.exists(), "the bomb of this test works"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64, b"\0" * 64])
def test_a_file_of_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"best\.safetensors is not a checkpoint"):
        load_checkpoint(path)


def test_half_a_checkpoint_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"net": "throng-m", "arguments": "{}", "facts": "{}"}, "ThrongM"),
        ({"net": "throng-s", "arguments": "{}", "facts": "{}"}, "ThrongS"),  # another width
        ({"net": "resnet", "arguments": "{}", "facts": "{}"}, "has no 'resnet'"),
        ({"net": "throng-s", "arguments": '{"colour": 1}', "facts": "{}"}, "colour"),
        ({"net": "throng-s", "arguments": "[1", "facts": "{}"}, "not a checkpoint"),
        ({"net": "throng-s", "facts": "{}"}, "arguments"),
        (None, "not a checkpoint"),
    ],
)
def test_tensors_under_a_header_that_does_not_fit_are_refused_in_one_line(
    saved: Path, header: dict[str, str] | None, why: str
) -> None:
    save_file(load_file(saved), saved, header)
    with pytest.raises(DataError, match=why) as refused:
        load_checkpoint(saved)
    assert "\n" not in str(refused.value)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no checkpoint at .*nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def test_facts_are_json_in_the_header_so_that_any_tool_can_read_them(saved: Path) -> None:
    length = int.from_bytes(saved.read_bytes()[:8], "little")
    header = json.loads(saved.read_bytes()[8 : 8 + length])["__metadata__"]
    assert header["net"] == "throng-s"
    assert json.loads(header["facts"]) == FACTS
