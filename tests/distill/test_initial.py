import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.initial import checksum, start_from
from models.errors import DataError
from models.nets import NETS, densenet169, resnet50
from models.nets._blocks import VGG16_LAYERS
from models.spec import InputSpec

Arrays = dict[str, np.ndarray]


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


def _weights(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {key: tuple(value.shape) for key, value in _net().state_dict().items()}
    return {key: rng.normal(size=shape).astype(np.float16) for key, shape in shapes.items()}


def _stored(folder: Path, arrays: Arrays) -> Path:
    path = folder / "trunk.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its keywords are typed as allow_pickle
    return path


def test_a_net_starts_from_the_numbers_of_the_file(tmp_path: Path) -> None:
    net, arrays = _net(), _weights()
    started = start_from(net, _stored(tmp_path, arrays))
    for name, value in net.state_dict().items():
        assert value.dtype == torch.float32
        assert np.array_equal(value.numpy(), arrays[name].astype(np.float32))
    assert started.parameters == set(net.parameters())
    assert started.checksum == hashlib.sha256(arrays["0.weight"].tobytes()).hexdigest()


def test_the_checksum_tells_weights_apart_and_not_memory_formats(tmp_path: Path) -> None:
    net = _net()
    one = start_from(net, _stored(tmp_path, _weights(1))).checksum
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
    assert checksum(net.get_parameter("0.weight")) == one
    assert start_from(net, _stored(tmp_path, _weights(2))).checksum != one


@pytest.mark.parametrize("name", list(_weights()))
def test_a_layer_of_another_shape_is_refused_by_name(tmp_path: Path, name: str) -> None:
    net = _net()
    before = checksum(net.get_parameter("0.weight"))
    arrays = _weights()
    arrays[name] = np.zeros((5, *arrays[name].shape[1:]), np.float16)
    with pytest.raises(DataError, match=f"trunk.npz does not fit Sequential: {name}$"):
        start_from(net, _stored(tmp_path, arrays))
    assert checksum(net.get_parameter("0.weight")) == before


def test_a_layer_too_few_or_too_many_is_refused_by_name(tmp_path: Path) -> None:
    arrays = _weights()
    arrays["9.weight"] = arrays.pop("2.bias")
    with pytest.raises(DataError, match=r"2\.bias, 9\.weight$"):
        start_from(_net(), _stored(tmp_path, arrays))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a zip", b"\x80\x04N."])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trunk.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"trunk.npz is no npz"):
        start_from(_net(), path)


def test_an_array_of_objects_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    arrays = _weights()
    arrays["0.weight"] = np.array([Path()], object)
    with pytest.raises(DataError, match="no npz"):
        start_from(_net(), _stored(tmp_path, arrays))


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz: give --data"):
        start_from(_net(), tmp_path / "nowhere.npz")


class Halved(nn.Linear):
    """Its file holds twice its weights, under another name."""

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        if arrays["twice"].ndim != 2:
            raise ValueError("a matrix is wanted")
        return {"weight": torch.from_numpy(arrays["twice"]) / 2}


def test_a_module_may_say_how_arrays_become_its_parameters(tmp_path: Path) -> None:
    net, twice = Halved(2, 1, bias=False), np.array([[3.0, 5.0]], np.float32)
    started = start_from(net, _stored(tmp_path, {"twice": twice}))
    assert net.weight.tolist() == [[1.5, 2.5]]
    assert (
        started.checksum == hashlib.sha256(np.array([[1.5, 2.5]], np.float16).tobytes()).hexdigest()
    )


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"thrice": np.zeros((1, 2))}, "no twice"),
        ({"twice": np.zeros(2)}, "a matrix is wanted"),
        ({"twice": np.zeros((2, 2), np.float32)}, "weight"),
    ],
)
def test_arrays_that_cannot_become_its_parameters_are_refused(
    tmp_path: Path, arrays: Arrays, why: str
) -> None:
    with pytest.raises(DataError, match=f"trunk.npz does not fit Halved: {why}$"):
        start_from(Halved(2, 1, bias=False), _stored(tmp_path, arrays))


def test_a_module_that_keeps_other_numbers_than_its_file_s_is_found_out(tmp_path: Path) -> None:
    class Forgetful(Halved):
        def load_state_dict(self, *_: object, **__: object) -> None:
            """Goes on as if nothing had been loaded."""

    path = _stored(tmp_path, {"twice": np.array([[3.0, 5.0]], np.float32)})
    with pytest.raises(DataError, match="loaded, but weight does not hold its numbers"):
        start_from(Forgetful(2, 1, bias=False), path)


class Keras:
    """Made-up arrays, and the layers as Keras runs them: BatchNorm by itself, BGR 0..255."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.arrays: Arrays = {}

    def conv(self, x: Tensor, layer: str, shape: tuple[int, ...], **how: int) -> Tensor:
        """Without a bias, as in DenseNet, unless one was made before."""
        kernel = self.rng.normal(size=shape).astype(np.float16) / np.prod(shape[1:]) ** 0.5
        self.arrays[f"{layer}_conv.weight"] = kernel.astype(np.float16)
        bias = self.arrays.get(f"{layer}_conv.bias")
        return F.conv2d(
            x, self._tensor(f"{layer}_conv.weight"),
            None if bias is None else self._tensor(f"{layer}_conv.bias"), **how,
        )  # fmt: skip

    def biased(self, x: Tensor, layer: str, shape: tuple[int, ...], **how: int) -> Tensor:
        self.arrays[f"{layer}_conv.bias"] = self.rng.normal(size=shape[0]).astype(np.float32)
        return self.norm(self.conv(x, layer, shape, **how), layer)

    def norm(self, x: Tensor, layer: str) -> Tensor:
        for part, low in (("gamma", 0.5), ("beta", -1.0), ("mean", -1.0), ("var", 0.5)):
            drawn = self.rng.uniform(low, low + 1.5, size=x.shape[1])
            self.arrays[f"{layer}_bn.{part}"] = drawn.astype(np.float32)
        mean, var, gamma, beta = (
            self._tensor(f"{layer}_bn.{part}") for part in ("mean", "var", "gamma", "beta")
        )
        return F.batch_norm(x, mean, var, gamma, beta, eps=1.001e-5)

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name].astype(np.float32))


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)


def _bgr(frames_N3HW: Tensor) -> Tensor:
    """What older Keras weights are fed, of normalised RGB."""
    spec = InputSpec(stride=1, multiple=1)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (spec.mean, spec.std))
    mean_255 = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    return ((frames_N3HW * std + mean) * 255 - mean_255).flip(1)


def _resnet(keras: Keras, frames: Tensor) -> list[Tensor]:
    x = _bgr(F.pad(frames, (3, 3, 3, 3)))  # pads are zeros of our normalisation
    x = _pooled(F.relu(keras.biased(x, "conv1", (64, 3, 7, 7), stride=2)))
    seen = []
    for stage, (blocks, width, stride) in resnet50.STAGES.items():
        for block in range(blocks):
            name, c_in, step = f"{stage}_block{block + 1}", x.shape[1], 1 if block else stride
            inner = F.relu(keras.biased(x, f"{name}_1", (width, c_in, 1, 1), stride=step))
            inner = F.relu(keras.biased(inner, f"{name}_2", (width, width, 3, 3), padding=1))
            inner = keras.biased(inner, f"{name}_3", (4 * width, width, 1, 1))
            if not block:
                x = keras.biased(x, f"{name}_0", (4 * width, c_in, 1, 1), stride=step)
            x = F.relu(x + inner)
        seen.append(x)
    return seen


def _densenet(keras: Keras, frames: Tensor) -> list[Tensor]:
    x = F.relu(keras.norm(keras.conv(frames, "conv1", (64, 3, 7, 7), stride=2, padding=3), "conv1"))
    x, seen = _pooled(x), list[Tensor]()
    for block, layers in densenet169.BLOCKS.items():
        for number in range(1, layers + 1):
            name = f"{block}_block{number}"
            inner = F.relu(keras.norm(x, f"{name}_0"))
            inner = keras.conv(inner, f"{name}_1", (128, x.shape[1], 1, 1))
            inner = F.relu(keras.norm(inner, f"{name}_1"))
            x = torch.cat([x, keras.conv(inner, f"{name}_2", (32, 128, 3, 3), padding=1)], dim=1)
        if block == "conv4":
            return seen
        pool = {"conv2": "pool2", "conv3": "pool3"}[block]
        seen.append(F.relu(keras.norm(x, pool)))
        x = F.avg_pool2d(keras.conv(seen[-1], pool, (x.shape[1] // 2, x.shape[1], 1, 1)), 2)
    raise AssertionError


def test_the_resnet50_trunk_sees_what_keras_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"conv2": (2, 8, 1), "conv3": (1, 12, 2), "conv4": (2, 16, 2)}
    monkeypatch.setattr(resnet50, "STAGES", stages)
    keras, frames, trunk = Keras(), torch.randn(1, 3, 48, 64), resnet50.Trunk()
    there = _resnet(keras, frames)
    start_from(trunk, _stored(tmp_path, keras.arrays))
    with torch.inference_mode():
        here = trunk(frames)
    assert list(here) == ["conv2", "conv3", "conv4"]
    torch.testing.assert_close(list(here.values()), there, rtol=1e-3, atol=1e-3)


def test_the_densenet169_trunk_sees_what_keras_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(densenet169, "BLOCKS", {"conv2": 2, "conv3": 1, "conv4": 2})
    keras, frames, trunk = Keras(), torch.randn(1, 3, 48, 64), densenet169.Trunk()
    there = _densenet(keras, frames)
    start_from(trunk, _stored(tmp_path, keras.arrays))
    with torch.inference_mode():
        here = trunk(frames)
    torch.testing.assert_close(list(here.values())[:2], there, rtol=1e-3, atol=1e-3)
    mean, var = (keras.arrays[f"conv4_block2_0_bn.{part}"] for part in ("mean", "var"))
    scale, shift = (
        trunk.get_parameter(f"norms.conv4.{part}").detach().flatten().numpy()
        for part in ("scale", "shift")
    )
    np.testing.assert_allclose(scale[:-32] * mean + shift[:-32], 0, atol=1e-5)
    np.testing.assert_allclose(scale[:-32] ** 2 * var, 1, rtol=1e-4)


def _vgg_arrays(*widths: int) -> Arrays:
    arrays: Arrays = {}
    rng, c_in = np.random.default_rng(0), 3
    for layer, width in zip(VGG16_LAYERS, widths, strict=True):
        arrays[f"{layer}__kernel"] = rng.normal(size=(3, 3, c_in, width)).astype(np.float16) / 8
        arrays[f"{layer}__bias"] = rng.normal(size=width).astype(np.float16)
        c_in = width
    return arrays


def test_a_vgg_trunk_starts_from_vgg_16_s_first_seven_convolutions(tmp_path: Path) -> None:
    """BGR 0..255 there, normalised RGB here; VGG-19's other nine keep their start."""
    arrays, frames = _vgg_arrays(8, 8, 16, 16, 32, 32, 32), torch.randn(1, 3, 32, 32)
    trunk = NETS["bl"](ratio=8).get_submodule("trunk")
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    started = start_from(trunk, _stored(tmp_path, arrays))
    seen, x = trunk(frames), _bgr(F.pad(frames, (1, 1, 1, 1)))  # pads are zeros of ours
    for layer in ("block1_conv1", "block1_conv2", "pool1", "block2_conv1", "block2_conv2", "pool2"):
        if layer.startswith("pool"):
            x = F.max_pool2d(x, 2)
            torch.testing.assert_close(seen[layer], x, rtol=1e-3, atol=1e-3)
        else:
            kernel = torch.from_numpy(arrays[f"{layer}__kernel"].astype(np.float32))
            bias = torch.from_numpy(arrays[f"{layer}__bias"].astype(np.float32))
            padding = 0 if layer == "block1_conv1" else 1
            x = F.relu(F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=padding))
    kept = [name for name, value in trunk.state_dict().items() if torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in kept} == {"pool3", "pool4", "conv5_4"}
    assert len([name for name in kept if name.endswith("weight")]) == 9
    assert started.parameters.isdisjoint(map(trunk.get_parameter, kept))
    assert len(started.parameters) + len(kept) == len(before)


def test_a_narrower_vgg_trunk_is_refused(tmp_path: Path) -> None:
    path = _stored(tmp_path, _vgg_arrays(8, 8, 16, 16, 32, 32, 32))
    with pytest.raises(DataError, match="does not fit VggTrunk: conv1_1"):
        start_from(NETS["bl"](ratio=16).get_submodule("trunk"), path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("throng-m", "resnet18_bnfolded_to_layer3"),
        ("resnet50", "resnet50_to_conv4"),
        ("densenet169", "densenet169_to_conv4"),
        ("bl", "vgg16_conv1_1_to_conv3_3_imagenet_fp16"),
        ("csrnet", "vgg16_conv1_1_to_conv3_3_imagenet_fp16"),
    ],
)
def test_a_net_starts_from_the_pack_s_weights(data: Path, name: str, file: str) -> None:
    trunk = NETS[name]().get_submodule("trunk")
    first = next(trunk.parameters())
    before = checksum(first)
    started = start_from(trunk, data / f"weights/{file}.npz")
    assert started.checksum == checksum(first) != before
