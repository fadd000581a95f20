"""Generated weights under published names, run by hand as the published code runs them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distill.published import LAYOUTS, published
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS, Pixels

Weights = dict[str, Tensor]
FRONT = "frontend.0 frontend.2 P frontend.5 frontend.7 P frontend.10 frontend.12 frontend.14 P"
FRONT += " frontend.17 frontend.19 frontend.21"
BACK = "backend.0 backend.2 backend.4 backend.6 backend.8 backend.10"
SKT_FRONT = "conv0_0.0 conv0_1.0 P conv1_0.0 conv1_1.0 P conv2_0.0 conv2_1.0 conv2_2.0 P"
SKT_FRONT += " conv3_0.0 conv3_1.0 conv3_2.0"
SKT_BACK = "conv4_0.0 conv4_1.0 conv4_2.0 conv4_3.0 conv4_4.0 conv4_5.0"
VGG19 = "features.0 features.2 P features.5 features.7 P features.10 features.12 features.14"
VGG19 += " features.16 P features.19 features.21 features.23 features.25 P features.28 features.30"
VGG19 += " features.32 features.34"
RATIO = 16


def _convolved(x: Tensor, weights: Weights, layers: str, *, dilation: int = 1) -> Tensor:
    """Layers of equal size with ReLU; P is a max-pool."""
    for layer in layers.split():
        if layer == "P":
            x = F.max_pool2d(x, 2)
        else:
            kernel = weights[f"{layer}.weight"]
            padding = dilation * (kernel.shape[2] // 2)
            x = F.relu(F.conv2d(x, kernel, weights[f"{layer}.bias"], 1, padding, dilation))
    return x


def _last(x: Tensor, weights: Weights, layer: str) -> Tensor:
    return F.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])


def _csrnet(frames: Tensor, weights: Weights) -> Tensor:
    seen = _convolved(_convolved(frames, weights, FRONT), weights, BACK, dilation=2)
    return _last(seen, weights, "output_layer")


def _skt(frames: Tensor, weights: Weights) -> Tensor:
    seen = _convolved(_convolved(frames, weights, SKT_FRONT), weights, SKT_BACK, dilation=2)
    return _last(seen, weights, "conv5_0")


def _bl(frames: Tensor, weights: Weights) -> Tensor:
    seen = _convolved(frames, weights, VGG19)
    seen = F.interpolate(seen, scale_factor=2, mode="bilinear", align_corners=True)
    return _last(_convolved(seen, weights, "reg_layer.0 reg_layer.2"), weights, "reg_layer.4").abs()


def _mcnn(grey: Tensor, weights: Weights) -> Tensor:
    columns = []
    for branch in ("DME.branch1", "DME.branch2", "DME.branch3"):
        layers = [f"{branch}.{number}.conv" for number in (0, 2, 4, 5)]
        columns.append(
            _convolved(grey, weights, f"{layers[0]} P {layers[1]} P {layers[2]} {layers[3]}")
        )
    density_at_4 = _convolved(torch.cat(columns, dim=1), weights, "DME.fuse.0.conv")
    return 4 * F.avg_pool2d(density_at_4, 2)


def _weights(layout: str) -> Weights:
    known = LAYOUTS[layout]
    net = NETS[known.net](**({"ratio": RATIO} if known.divided else {}))
    generator = torch.Generator().manual_seed(0)
    shapes = [value.shape for value in net.state_dict().values()]
    return {
        key: torch.randn(shape, generator=generator) * 0.2
        for key, shape in zip(known.keys, shapes, strict=True)
    }


def _saved(folder: Path, content: Any, name: str = "best.pth.tar") -> Path:
    path = folder / name
    torch.save(content, path)
    return path


RUNS: dict[str, Callable[[Tensor, Weights], Tensor]] = {
    "csrnet-pytorch": _csrnet, "skt": _skt, "bl": _bl,
}  # fmt: skip


@pytest.mark.parametrize("layout", RUNS)
def test_a_published_net_counts_here_what_it_counts_there(tmp_path: Path, layout: str) -> None:
    weights, frames = _weights(layout), torch.randn(1, 3, 48, 64)
    net = published(_saved(tmp_path, {"epoch": 3, "state_dict": weights}), layout).net
    with torch.inference_mode():
        torch.testing.assert_close(net(frames), RUNS[layout](frames, weights))


def test_the_published_mcnn_is_fed_grey_pictures_and_counts_here_what_it_counts_there(
    tmp_path: Path,
) -> None:
    weights = _weights("mcnn")
    frames_NHW3 = torch.randint(0, 256, (1, 32, 40, 3), dtype=torch.uint8)
    grey_NHW = frames_NHW3.float() @ torch.tensor([0.299, 0.587, 0.114])
    net = Pixels(published(_saved(tmp_path, weights), "mcnn").net)
    with torch.inference_mode():
        there = _mcnn(grey_NHW[:, None], weights).squeeze(1)
        torch.testing.assert_close(net(frames_NHW3), there, rtol=1e-4, atol=1e-2)
    assert there.max() > 100, "weights of another fifth give other counts"


def test_names_that_parallel_training_gave_are_known(tmp_path: Path) -> None:
    weights, frames = _weights("bl"), torch.randn(1, 3, 32, 32)
    parallel = {f"module.{name}": value for name, value in weights.items()}
    net = published(_saved(tmp_path, parallel), "bl").net
    with torch.inference_mode():
        torch.testing.assert_close(net(frames), _bl(frames, weights))


def test_what_only_skt_s_training_used_is_left_out(tmp_path: Path) -> None:
    weights = _weights("skt")
    trained = weights | {"transform4_3.0.weight": torch.zeros(256, 16, 1, 1)}
    net = published(_saved(tmp_path, trained), "skt").net
    assert len(net.state_dict()) == len(weights)


def test_a_published_net_can_be_saved_as_one_of_ours(tmp_path: Path) -> None:
    found = published(_saved(tmp_path, _weights("skt")), "skt")
    assert (found.name, found.arguments) == ("csrnet", {"ratio": RATIO})
    save_checkpoint(
        tmp_path / "best.safetensors", found.net, name=found.name, arguments=found.arguments,
        facts=found.facts,
    )  # fmt: skip
    again, frames = load_checkpoint(tmp_path / "best.safetensors"), torch.randn(1, 3, 16, 16)
    assert again.facts == {"published": "best.pth.tar"}
    with torch.inference_mode():
        assert torch.equal(again.net(frames), found.net(frames))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_odd_keys_are_refused_by_name(tmp_path: Path, layout: str) -> None:
    weights = _weights(layout)
    first = next(iter(weights))
    weights["running_mean"] = weights.pop(first)
    with pytest.raises(DataError, match=f"no {layout} .* misses {first} and has unknown running"):
        published(_saved(tmp_path, weights), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_shape_is_refused_by_name(tmp_path: Path, layout: str) -> None:
    weights = _weights(layout)
    last = list(weights)[-2]
    weights[last] = torch.zeros(2, 2, 1, 1)
    with pytest.raises(DataError, match=f"{last} is \\(2, 2, 1, 1\\), wanted"):
        published(_saved(tmp_path, weights), layout)


@pytest.mark.parametrize("channels", [0, 1, 30, 1000])
def test_a_first_layer_of_any_width_is_refused_in_words(tmp_path: Path, channels: int) -> None:
    weights = _weights("skt") | {"conv0_0.0.bias": torch.zeros(channels)}
    with pytest.raises(DataError, match=r"does not fit skt: conv0_0\.0"):
        published(_saved(tmp_path, weights), "skt")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    path = _saved(tmp_path, {"state_dict": _weights("skt"), "more": Bomb(tmp_path / "went-off")})
    with pytest.raises(DataError, match="no tensors that can be read"):
        published(path, "skt")
    assert not (tmp_path / "went-off").exists()


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": 3}, {"conv0_0.0.weight": "no"}])
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match=r"wanted a dictionary|is no tensor"):
        published(_saved(tmp_path, content), "skt")


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_file_of_anything_else_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pth.tar"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no tensors that can be read") as refused:
        published(path, "skt")
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_an_unknown_layout_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no published checkpoint at .*nowhere"):
        published(tmp_path / "nowhere", "skt")
    with pytest.raises(ConfigError, match="no layout 'vgg'; there are mcnn, csrnet-pytorch, skt"):
        published(tmp_path / "nowhere", "vgg")


def test_mcnn_is_read_from_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    weights = _weights("mcnn")
    with h5py.File(tmp_path / "mcnn.h5", "w") as file:
        for name, value in weights.items():
            file.create_dataset(name, data=value.numpy())
    net = published(tmp_path / "mcnn.h5", "mcnn").net
    assert all(map(torch.equal, net.state_dict().values(), weights.values()))
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(DataError, match="no tensors that can be read"):
        published(tmp_path / "empty.h5", "mcnn")


@pytest.mark.data
def test_the_pack_s_mcnn_finds_the_crowd_of_part_a(data: Path) -> None:
    pytest.importorskip("h5py")
    net = Pixels(published(data / "weights/mcnn_shtechA_660.h5", "mcnn").net)
    counted, true = 0.0, 0
    with np.load(data / "val/points.npz") as points:
        for name in [name for name in points.files if name.startswith("sha_")][:12]:
            image_HW3 = cv2.imread(str(data / f"val/images/{name}.jpg"))
            assert image_HW3 is not None
            top = image_HW3.shape[0] // 2
            bottom_HW3 = image_HW3[top : top + 160, :320, ::-1].copy()
            with torch.inference_mode():
                density = net(torch.from_numpy(bottom_HW3[None]))
            counted += density.sum().item()
            xy_P2 = points[name] - (0, top)
            true += int(((xy_P2 >= 0) & (xy_P2 < (320, 160))).all(axis=1).sum())
    assert counted == pytest.approx(true, rel=0.5), "grey of 0..1 would give hardly anybody"
