import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distill.speed import WARM_UP, gmacs_of, net_of, race, save
from models.checkpoint import save_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS, CountingNet, Look, parameters_of
from models.spec import InputSpec


class Clock:
    """Seconds that pass only when somebody works."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Worker(CountingNet):
    """Works for so many seconds a frame, the first frames for much longer."""

    spec = InputSpec(stride=8, multiple=8)

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds, self.frames = clock, seconds, 0
        self.one = nn.Parameter(torch.ones(1))

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        self.frames += 1
        self.clock.now_s += self.seconds if self.frames > WARM_UP else 100.0
        return {"latent": frames_N3HW[:, :1]}

    def decode(self, latent_NChw: Tensor) -> Look:
        return Look(latent_NChw, {})


class Up(CountingNet):
    """One convolution of each kind, in groups, of stride 2, and one used twice."""

    spec = InputSpec(stride=8, multiple=8)

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.same = nn.Conv2d(4, 4, 1)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        return {"up": self.up(self.down(frames_N3HW))}

    def decode(self, latent_NChw: Tensor) -> Look:
        return Look(self.same(self.same(latent_NChw))[:, :1], {})


@pytest.mark.parametrize(("ratio", "millions", "gmacs"), [(1, 16.26, 205.5), (4, 1.02, 13.0)])
def test_csrnet_is_as_heavy_as_the_paper_of_skt_says(
    ratio: int, millions: float, gmacs: float
) -> None:
    net = NETS["csrnet"](ratio=ratio)
    assert parameters_of(net) / 1e6 == pytest.approx(millions, abs=0.005)
    assert gmacs_of(net) == pytest.approx(gmacs, abs=0.05)
    assert not any(module._forward_hooks for module in net.modules())


def test_every_kind_of_convolution_is_counted_each_time_it_is_used() -> None:
    down = 6 * 4 * 8 * (1 * 9)  # outputs, each of one channel and nine places
    up = 6 * 4 * 8 * (4 * 4)  # inputs, each to four channels and four places
    same = 2 * (4 * 8 * 16) * 4
    assert gmacs_of(Up(), (8, 16)) * 1e9 == pytest.approx(down + up + same)


def test_a_net_that_works_three_times_as_long_is_three_times_slower() -> None:
    clock = Clock()
    nets = [("teacher", Worker(clock, 0.03)), ("student", Worker(clock, 0.01))]
    found = race(nets, size_hw=(16, 16), rounds=4, clock=clock)
    assert found.ratio == pytest.approx(3)
    assert found.teacher.ms == pytest.approx((30, 30, 30, 30))
    assert found.student.median_ms == pytest.approx(10)


def test_rounds_turn_the_order_about() -> None:
    clock, order = Clock(), []
    nets = [(name, Worker(clock, 1.0)) for name in "ab"]
    for name, net in nets:
        net.register_forward_hook(lambda *_, name=name: order.append(name))
    race(nets, size_hw=(16, 16), rounds=2, clock=clock)
    assert "".join(order[:8]) == "abbaabba"  # then each is weighed


def test_a_net_is_a_checkpoint_or_a_name_with_arguments(tmp_path: Path) -> None:
    arguments = {"width": 8}
    path = tmp_path / "best.safetensors"
    net = NETS["throng-s"](**arguments)
    save_checkpoint(path, net, name="throng-s", arguments=arguments, facts={})
    assert parameters_of(net_of(str(path))) == parameters_of(net)
    assert parameters_of(net_of("throng-s:width=8")) == parameters_of(net)


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("moon", ConfigError, "no 'moon'"),
        ("csrnet:ratio=big", ConfigError, "'csrnet:ratio=big' is not a net: wanted"),
        ("csrnet:ratio", ConfigError, "is not a net"),
        ("csrnet:size=4", ConfigError, "is not a net"),
        ("nowhere.safetensors", DataError, "no checkpoint at"),
    ],
)
def test_what_is_no_net_is_refused(what: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        net_of(what)


def test_a_race_is_saved_with_its_ratio_and_its_machine(tmp_path: Path) -> None:
    clock = Clock()
    nets = [("big", Worker(clock, 0.05)), ("small", Worker(clock, 0.02))]
    data, page = save(race(nets, size_hw=(16, 24), rounds=3, clock=clock), tmp_path / "results")
    said = json.loads(data.read_text())
    assert said["ratio"] == pytest.approx(2.5)
    assert said["machine"]["cores"] > 0
    text = page.read_text()
    assert "**2.50 times**" in text
    assert "24 x 16" in text
    assert "| `small` | 0.00 M | 0.0 | 20.0 | 20.0 to 20.0 |" in text
