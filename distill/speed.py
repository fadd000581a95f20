"""How heavy nets are, and how fast beside each other: forward passes in torch, taken in turns.

Shapes: N frames, H x W pixels.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import lcm
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode  # tensors that have no numbers

from models.checkpoint import load_checkpoint
from models.errors import ConfigError
from models.geometry import up_to
from models.machine import commit_here, machine, versions
from models.nets import NETS, CountingNet, parameters_of
from models.whole import folder_at, write_text

SIZE_HW = (576, 864)  # the mean picture of ShanghaiTech part A: what SKT's table is measured at
WARM_UP = 2


@torch.no_grad()
def gmacs_of(net: CountingNet, size_hw: tuple[int, int] = SIZE_HW) -> float:
    """Multiply-adds of the convolutions for one frame, in billions; nothing is computed for it.

    Papers often print the same number as FLOPs.
    """
    macs = 0

    def add(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(conv, nn.ConvTranspose2d):  # each input cell is spread over the kernel
            macs += inputs[0].numel() * conv.weight[0].numel()
        elif isinstance(conv, nn.Conv2d):  # each output cell gathers over the kernel
            macs += output.numel() * conv.weight[0].numel()

    hooks = [module.register_forward_hook(add) for module in net.modules()]
    with FakeTensorMode(allow_non_fake_inputs=True):
        net(torch.zeros(1, 3, *size_hw))
    for hook in hooks:
        hook.remove()
    return macs / 1e9


def net_of(what: str) -> CountingNet:
    """A checkpoint's net, or `NET` or `NET:argument=number,...` with random weights.

    Raises ConfigError, or DataError for a file that is no checkpoint.
    """
    if what.endswith(".safetensors"):
        return load_checkpoint(Path(what)).net
    name, _, given = what.partition(":")
    try:
        pairs = (pair.split("=") for pair in given.split(",") if pair)
        return NETS[name](**{key: int(value) for key, value in pairs}).eval()
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"{what!r} is not a net: wanted a .safetensors, NET or NET:argument=number,... "
            f"({error})"
        ) from error


@dataclass(frozen=True)
class Timed:
    name: str
    parameters: int
    gmacs: float
    ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.ms)


@dataclass(frozen=True)
class Race:
    """Two nets on one machine in one run; `ratio` is how many times faster the second is."""

    teacher: Timed
    student: Timed
    size_hw: tuple[int, int]
    threads: int

    @property
    def ratio(self) -> float:
        return self.teacher.median_ms / self.student.median_ms


@torch.inference_mode()
def race(
    nets: Sequence[tuple[str, CountingNet]],
    *,
    size_hw: tuple[int, int] = SIZE_HW,
    rounds: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Time teacher and student, one frame in fp32 each a round; a round turns the order about.

    So whatever else the machine does, or how it heats up, meets both alike. Raises ConfigError for
    a size that one of them does not take.
    """
    multiple = lcm(*(net.spec.multiple for _, net in nets))
    if any(side % multiple for side in size_hw):
        height, width = (up_to(side, multiple) for side in size_hw)
        raise ConfigError(f"sides must be multiples of {multiple}, such as {width}x{height}")
    frames_1CHW = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    took_ms: list[list[float]] = [[], []]
    order = list(enumerate(nets))
    for number in range(WARM_UP + rounds):
        for which, (_, net) in order:
            began_s = clock()
            net(frames_1CHW)
            if number >= WARM_UP:
                took_ms[which].append((clock() - began_s) * 1e3)
        order.reverse()
    teacher, student = (
        Timed(name, parameters_of(net), gmacs_of(net, size_hw), tuple(ms))
        for (name, net), ms in zip(nets, took_ms, strict=True)
    )
    return Race(teacher, student, size_hw, torch.get_num_threads())


def save(found: Race, folder: Path) -> list[Path]:
    """JSON and Markdown, named by date and commit."""
    folder_at(folder)
    date, commit = datetime.now(UTC).isoformat(timespec="seconds"), commit_here()
    said: dict[str, Any] = asdict(found) | {"ratio": found.ratio, "date": date, "commit": commit}
    said |= {"machine": machine(), "versions": versions()}
    data = folder / f"{date[:19].replace(':', '')}-speed-{commit}.json"
    write_text(data, json.dumps(said, indent=2) + "\n")
    page = data.with_suffix(".md")
    write_text(page, markdown(found, said))
    return [data, page]


def markdown(found: Race, said: dict[str, Any]) -> str:
    rows = [
        f"| `{one.name}` | {one.parameters / 1e6:.2f} M | {one.gmacs:.1f} | {one.median_ms:.1f} "
        f"| {min(one.ms):.1f} to {max(one.ms):.1f} |"
        for one in (found.teacher, found.student)
    ]
    height, width = found.size_hw
    return "\n".join(
        [
            f"# Speed in torch, {said['date']}",
            "",
            f"The second is **{found.ratio:.2f} times** as fast as the first: one frame of "
            f"{width} x {height}, fp32, {found.threads} threads, {len(found.student.ms)} rounds in "
            f"turns after {WARM_UP} to warm up. Commit `{said['commit']}`, "
            f"{said['machine']['processor']}, {said['machine']['cores']} cores, "
            f"torch {said['versions'].get('torch')}.",
            "",
            "| net | parameters | GMAC | median ms | fastest to slowest |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )
