import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.initial import first_layer_checksum, start_from
from models.errors import DataError
from models.nets import NETS


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


def _weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {key: tuple(value.shape) for key, value in _net().state_dict().items()}
    return {key: rng.normal(size=shape).astype(np.float16) for key, shape in shapes.items()}


def _stored(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    path = folder / "trunk.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its keywords are typed as allow_pickle
    return path


def test_a_net_starts_from_the_numbers_of_the_file(tmp_path: Path) -> None:
    net, arrays = _net(), _weights()
    checksum = start_from(net, _stored(tmp_path, arrays))
    for name, value in net.state_dict().items():
        assert value.dtype == torch.float32
        assert np.array_equal(value.numpy(), arrays[name].astype(np.float32))
    assert checksum == hashlib.sha256(arrays["0.weight"].tobytes()).hexdigest()


def test_the_checksum_tells_weights_apart_and_not_memory_formats(tmp_path: Path) -> None:
    net = _net()
    one = start_from(net, _stored(tmp_path, _weights(1)))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
    assert first_layer_checksum(net) == one
    assert start_from(net, _stored(tmp_path, _weights(2))) != one


@pytest.mark.parametrize("name", list(_weights()))
def test_a_layer_of_another_shape_is_refused_by_name(tmp_path: Path, name: str) -> None:
    net = _net()
    before = first_layer_checksum(net)
    arrays = _weights()
    arrays[name] = np.zeros((5, *arrays[name].shape[1:]), np.float16)
    with pytest.raises(DataError, match=f"trunk.npz does not fit Sequential: {name}$"):
        start_from(net, _stored(tmp_path, arrays))
    assert first_layer_checksum(net) == before


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


@pytest.mark.data
def test_throng_m_starts_from_the_pack_s_resnet18(data: Path) -> None:
    path = data / "weights/resnet18_bnfolded_to_layer3.npz"
    with np.load(path) as stored:
        first = stored["conv1.weight"].astype(np.float16)
    net = NETS["throng-m"]()
    assert start_from(net.get_submodule("trunk"), path) == hashlib.sha256(first).hexdigest()
