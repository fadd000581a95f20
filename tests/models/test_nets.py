from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.lineage import copy_weights
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS, CountingNet, Pixels, latent_of, parameters_of
from models.nets._blocks import DensityHead
from models.nets.reviewed import Reviewed, emphasis

HEADED = ("densenet169", "mcnn", "resnet50", "sanet", "throng-m", "throng-s")
QUICK: dict[str, dict[str, Any]] = {
    "bl": {"ratio": 4}, "csrnet": {"ratio": 4}, "reviewed": {"ratio": 4},
    "densenet169": {"width": 32}, "resnet50": {"width": 32},
}  # fmt: skip


def _net(name: str) -> CountingNet:
    torch.manual_seed(0)
    return NETS[name](**QUICK.get(name, {}))


@pytest.mark.parametrize("name", NETS.names())
def test_a_net_gives_the_same_type_and_size_in_training_and_evaluation(name: str) -> None:
    net = _net(name)
    frames = torch.randn(2, 3, 64, 96)
    for mode in (True, False):
        density = net.train(mode)(frames)
        assert isinstance(density, torch.Tensor)
        assert density.shape == (2, 1, 64 // net.spec.stride, 96 // net.spec.stride)
        assert density.dtype == torch.float32


@pytest.mark.parametrize("name", NETS.names())
def test_forward_is_the_density_of_a_look(name: str) -> None:
    net, frames = _net(name).eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(net(frames), net.look(frames).density_N1hw, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETS.names())
def test_hints_are_feature_maps_of_every_frame(name: str) -> None:
    with torch.inference_mode():
        hints = _net(name).look(torch.randn(2, 3, 64, 64)).hints
    assert hints
    assert all(hint.ndim == 4 and len(hint) == 2 for hint in hints.values())


@pytest.mark.parametrize("name", NETS.names())
def test_each_frame_of_a_batch_is_counted_alone(name: str) -> None:
    net, frames = _net(name).eval(), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        alone = torch.cat([net(frames[:1]), net(frames[1:])])
        torch.testing.assert_close(net(frames), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETS.names())
def test_sides_that_are_whole_multiples_are_whole_cells(name: str) -> None:
    spec = _net(name).spec
    assert spec.multiple % spec.stride == 0


@pytest.mark.parametrize("name", HEADED)
def test_a_net_with_our_head_is_never_negative(name: str) -> None:
    net = _net(name)
    head = net.get_submodule("head.out")
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    nn.init.normal_(head.weight)  # half of the cells would be below zero
    nn.init.zeros_(head.bias)
    for mode in (True, False):
        density = net.train(mode)(torch.randn(1, 3, 64, 64) * 3)
        assert (density >= 0).all()
        assert (density > 0).any()


@pytest.mark.parametrize(("ratio", "published"), [(1, 16_263_489), (4, 1_017_681)])
def test_csrnet_has_the_published_number_of_parameters(ratio: int, published: int) -> None:
    """16.26 M and 1.02 M in Liu et al., ACM MM 2020 (SKT)."""
    assert parameters_of(NETS["csrnet"](ratio=ratio)) == published


@pytest.mark.parametrize(("ratio", "published"), [(1, 21_499_457), (4, 1_345_169)])
def test_bl_has_the_published_number_of_parameters(ratio: int, published: int) -> None:
    """21.50 M and 1.35 M in Liu et al., ACM MM 2020 (SKT)."""
    assert parameters_of(NETS["bl"](ratio=ratio)) == published


def test_mcnn_and_sanet_have_the_published_numbers_of_parameters() -> None:
    assert parameters_of(NETS["mcnn"]()) == 127_953
    assert parameters_of(NETS["sanet"]()) == 911_761, "0.91 M in Cao et al., ECCV 2018"


@pytest.mark.parametrize("name", ["densenet169", "resnet50"])
def test_a_teacher_is_larger_than_throng_m(name: str) -> None:
    assert parameters_of(NETS[name]()) > 2 * parameters_of(NETS["throng-m"]())


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (63, 57)])
def test_a_csrnet_map_has_a_row_for_each_eight_pixels_begun(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        density = NETS["csrnet"](ratio=16)(torch.randn(1, 3, *size))
    assert density.shape[2:] == tuple(-(-side // 8) for side in size)


def test_our_nets_are_small() -> None:
    assert parameters_of(NETS["throng-s"]()) <= 2_500_000
    assert parameters_of(NETS["throng-m"]()) == pytest.approx(3_300_000, rel=0.15)


def _head(people: float) -> tuple[DensityHead, torch.Tensor]:
    """A head that sees `people` in its only cell, and the feature it sees them by."""
    head = DensityHead(1)
    nn.init.ones_(head.out.weight)
    assert head.out.bias is not None
    nn.init.zeros_(head.out.bias)
    return head, torch.full((1, 1, 1, 1), people, requires_grad=True)


@pytest.mark.parametrize(
    ("people", "wish", "passes"),
    [(-2.0, "rise", True), (-2.0, "fall", False), (2.0, "rise", True), (2.0, "fall", True)],
)
def test_a_cell_below_zero_may_rise_but_is_pushed_no_further_down(
    people: float, wish: str, passes: bool
) -> None:
    head, feature = _head(people)
    density = head(feature)
    assert density.item() == max(0.0, people)
    (-density if wish == "rise" else density).sum().backward()
    assert feature.grad is not None
    assert (feature.grad.item() != 0) == passes


@pytest.mark.parametrize("name", NETS.names())
def test_a_map_is_in_fp32_under_autocast(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert _net(name)(torch.randn(1, 3, 64, 64)).dtype == torch.float32


def test_the_head_counts_in_fp32_under_autocast() -> None:
    head = DensityHead(4)
    features = torch.rand(1, 4, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        density = head(features)
    assert density.dtype == torch.float32
    torch.testing.assert_close(density, head(features), rtol=0, atol=0)


def test_pixels_are_normalised_inside_the_deployed_net() -> None:
    net = _net("throng-s").eval()
    pixels = Pixels(net)
    frames_NHW3 = torch.randint(0, 256, (2, 64, 80, 3), dtype=torch.uint8)
    mean, std = torch.tensor(net.spec.mean), torch.tensor(net.spec.std)
    by_hand = ((frames_NHW3 / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(pixels.normalise(frames_NHW3), by_hand, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        assert pixels(frames_NHW3).shape == (2, 8, 10)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("bl", {"conv1_1": 1, "pool1": 2, "pool2": 4, "pool3": 8, "pool4": 16, "reg1": 8}),
        ("sanet", {"module1": 1, "module2": 2, "module3": 4, "module4": 8, "up1": 4, "fine": 1}),
        ("mcnn", {"large": 4, "medium": 4, "small": 4}),
        ("resnet50", {"conv2": 4, "conv3": 8, "conv4": 16, "neck": 8}),
        ("densenet169", {"conv2": 4, "conv3": 8, "conv4": 16, "neck": 8}),
    ],
)
def test_hints_lie_at_known_strides(name: str, strides: dict[str, int]) -> None:
    with torch.inference_mode():
        hints = _net(name).look(torch.randn(1, 3, 32, 64)).hints
    for hint, stride in strides.items():
        assert hints[hint].shape[2:] == (32 // stride, 64 // stride), hint


def test_the_latent_of_bl_has_the_cells_of_its_map() -> None:
    with torch.inference_mode():
        encoded = NETS["bl"](ratio=16).encode(torch.randn(1, 3, 32, 64))
    assert latent_of(encoded).shape == (1, 32, 4, 8)


@pytest.mark.parametrize("mode", [True, False])
def test_bl_folds_what_is_below_zero(mode: bool) -> None:
    net = NETS["bl"](ratio=16).train(mode)
    with torch.no_grad():
        net.get_parameter("out.bias").fill_(-3.0)
        net.get_parameter("out.weight").zero_()
    assert (net(torch.randn(1, 3, 32, 32)) == 3).all()


def test_mcnn_sees_grey() -> None:
    net, colour = Pixels(_net("mcnn")), torch.randint(0, 256, (1, 32, 32, 3)).float()
    nn.init.ones_(net.get_parameter("net.columns.large.0.0.weight"))
    grey = (colour @ torch.tensor([0.299, 0.587, 0.114]))[..., None].expand(-1, -1, -1, 3)
    with torch.inference_mode():
        assert net(colour).max() > 0
        torch.testing.assert_close(net(colour), net(grey), rtol=1e-4, atol=1e-4)


def test_a_cell_of_sanet_is_the_mean_of_its_pixels_times_their_number() -> None:
    net = _net("sanet").eval()
    head, frames = net.get_submodule("head"), torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        look = net.look(frames)
        people_a_pixel = head(look.hints["fine"]) / 64
        torch.testing.assert_close(look.density_N1hw.sum(), people_a_pixel.sum())


@pytest.mark.parametrize("name", ["csrnet", "bl"])
def test_no_review_leaves_a_net_as_it_is(name: str) -> None:
    net = NETS["reviewed"](net=name, passes=0, ratio=16)
    assert isinstance(net, Reviewed)
    frames = torch.randn(2, 3, 32, 32)
    assert net.spec == net.net.spec
    with torch.inference_mode():
        plain, reviewed = net.net.look(frames), net.look(frames)
    assert torch.equal(plain.density_N1hw, reviewed.density_N1hw)
    assert list(plain.hints) == list(reviewed.hints)


def test_a_review_adds_no_parameter_and_a_plain_checkpoint_starts_it(tmp_path: Path) -> None:
    plain, reviewed = NETS["csrnet"](ratio=16), NETS["reviewed"](net="csrnet", ratio=16)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, plain, name="csrnet", arguments={"ratio": 16}, facts={})
    copy_weights([tmp_path], reviewed)
    ours, theirs = reviewed.state_dict(), plain.state_dict()
    assert list(ours) == [f"net.{name}" for name in theirs]
    assert all(map(torch.equal, ours.values(), theirs.values()))


def test_a_reviewed_net_comes_back_from_its_own_checkpoint(tmp_path: Path) -> None:
    arguments = {"net": "mcnn", "passes": 2}
    reviewed, frames = NETS["reviewed"](**arguments).eval(), torch.randn(1, 3, 32, 32)
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, reviewed, name="reviewed", arguments=arguments, facts={})
    with torch.inference_mode():
        assert torch.equal(load_checkpoint(path).net(frames), reviewed(frames))


def test_the_checkpoint_of_another_net_starts_no_review(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, _net("mcnn"), name="mcnn", arguments={}, facts={})
    with pytest.raises(DataError, match="another net than Reviewed"):
        copy_weights([tmp_path], NETS["reviewed"](net="csrnet", ratio=16))


def test_what_is_like_its_surroundings_has_no_emphasis_and_a_lone_cell_has_twice_theirs() -> None:
    for people in (-1.0, 0.0, 0.9, 50.0):
        alike_11hw = torch.full((1, 1, 9, 9), people)
        torch.testing.assert_close(emphasis(alike_11hw), torch.ones(1, 1, 9, 9))
    lone_11hw = torch.zeros(1, 1, 21, 21)
    lone_11hw[..., 10, 10] = 0.9
    factor_hw = emphasis(lone_11hw)[0, 0]
    assert factor_hw[10, 10] == pytest.approx(1.9 / (1 + 0.9 / 49))
    assert factor_hw[10, 11] == pytest.approx(1.0 / (1 + 0.9 / 49))
    assert factor_hw[10, 14] == 1.0


def test_emphasis_depends_on_the_cells_around_alone() -> None:
    picture_11hw = torch.rand(1, 1, 20, 20)
    crop_11hw = picture_11hw[..., :12, :12]
    torch.testing.assert_close(
        emphasis(crop_11hw)[..., :9, :9], emphasis(picture_11hw)[..., :9, :9]
    )


@pytest.mark.parametrize("name", ["bl", "mcnn"])
def test_a_review_decodes_emphasised_features_and_no_gradient_flows_through_the_emphasis(
    name: str,
) -> None:
    torch.manual_seed(0)
    net = NETS["reviewed"](net=name, passes=1, **({"ratio": 16} if name == "bl" else {}))
    assert isinstance(net, Reviewed)
    latent = latent_of(net.encode(torch.randn(2, 3, 32, 32))).detach().requires_grad_()
    first, second = net.estimates(latent)
    assert torch.equal(net.decode(latent).density_N1hw, second.density_N1hw)
    shown = F.interpolate(emphasis(first.density_N1hw), size=latent.shape[2:]).detach()
    by_hand = net.net.decode(latent * shown).density_N1hw
    assert torch.equal(by_hand, second.density_N1hw)
    assert not torch.equal(first.density_N1hw, second.density_N1hw)

    def gradient(density: Tensor) -> Tensor:
        return torch.autograd.grad(density.sum(), latent)[0]

    torch.testing.assert_close(gradient(second.density_N1hw), gradient(by_hand))


def test_less_than_no_review_is_refused() -> None:
    with pytest.raises(ConfigError, match="passes=-1 times: choose 0 or more"):
        NETS["reviewed"](passes=-1, ratio=16)


def test_the_trunk_of_a_reviewed_net_is_that_of_the_net_inside() -> None:
    net = NETS["reviewed"](net="bl", ratio=16)
    assert net.get_submodule("trunk") is net.get_submodule("net.trunk")
