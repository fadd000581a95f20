import pytest
import torch
from torch import nn

from models.nets import NETS, CountingNet, Pixels, parameters_of
from models.nets._blocks import DensityHead

THRONG = [name for name in NETS.names() if name.startswith("throng")]


def _net(name: str) -> CountingNet:
    torch.manual_seed(0)
    return NETS[name]()


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
    spec = NETS[name]().spec
    assert spec.multiple % spec.stride == 0


@pytest.mark.parametrize("name", THRONG)
def test_our_nets_are_never_negative(name: str) -> None:
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


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (63, 57)])
def test_a_csrnet_map_has_a_row_for_each_eight_pixels_begun(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        density = NETS["csrnet"](ratio=16)(torch.randn(1, 3, *size))
    assert density.shape[2:] == tuple(-(-side // 8) for side in size)


def test_our_nets_are_small() -> None:
    assert parameters_of(NETS["throng-s"]()) <= 2_500_000
    assert parameters_of(NETS["throng-m"]()) == pytest.approx(3_300_000, rel=0.15)
    assert parameters_of(NETS["throng-s"](width=64, depth=1)) < 300_000


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
    frames_NHW3 = torch.randint(0, 256, (2, 64, 72, 3), dtype=torch.uint8)
    mean, std = torch.tensor(net.spec.mean), torch.tensor(net.spec.std)
    by_hand = ((frames_NHW3 / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(pixels.normalise(frames_NHW3), by_hand, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        assert pixels(frames_NHW3).shape == (2, 8, 9)
