"""One step, and everything a step changes. The loop knows no method and no net by name."""

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.batch import Batch, Lessons
from distill.crops import Crops
from distill.methods import METHODS, Method
from distill.recipes import Recipe
from distill.views import heard
from models.errors import ConfigError, ThrongError
from models.nets import CountingNet, Look, Pixels

NOBODY: Final[Mapping[str, CountingNet]] = MappingProxyType({})
CPU: Final = torch.device("cpu")
VIEWS: Final = 1  # apart from what the crops of the same step are drawn from


def device_of(wanted: str) -> torch.device:
    """`auto` takes a GPU where CUDA finds one. Raises ConfigError for a device that is not here."""
    if wanted == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else CPU
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: CUDA finds no GPU here; choose cpu or auto")
    if wanted not in ("cpu", "cuda"):
        raise ConfigError(f"--device {wanted!r}: wanted auto, cpu or cuda")
    return torch.device(wanted)


def bf16_pays(device: torch.device) -> bool:
    """Whether it multiplies bf16 in hardware; of CPUs those with AMX or AVX-512 BF16 do."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


@dataclass
class Learner:
    """A student, its moving average, its optimiser, and what teaches it."""

    recipe: Recipe
    student: CountingNet
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    method: Method
    pixels: Pixels
    teachers: Mapping[str, CountingNet]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        student: CountingNet,
        teachers: Mapping[str, CountingNet] = NOBODY,
        *,
        started: Set[nn.Parameter] = frozenset(),
        device: torch.device = CPU,
    ) -> "Learner":
        """Moves all to the device, freezes the teachers and what the recipe freezes. What of the
        student `started` from published weights learns at the trunk's rate. A method of one teacher
        is taught by the mean map of several. Raises ConfigError where the method misses a teacher
        or a hint.
        """
        student.to(device)
        for teacher in teachers.values():
            teacher.eval().requires_grad_(False)
            teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
        method = METHODS[recipe.method](**recipe.method_arguments)
        joint = len(method.roles) == 1 < len(recipe.teachers)
        if set(method.roles) != set(recipe.teachers) and not joint:
            raise ConfigError(
                f"{recipe.method} wants teachers {sorted(method.roles)}, "
                f"the recipe has {sorted(recipe.teachers)}"
            )
        method.meet(student=student, teachers=NOBODY if joint else teachers)  # a mean has no hints
        method.to(device)
        own, trunk, rest = list(method.parameters()), [], []
        for name, parameter in student.named_parameters():
            if name.startswith(recipe.frozen):
                parameter.requires_grad = False
            elif parameter in started:
                trunk.append(parameter)
            else:
                rest.append(parameter)
        groups = [
            {"params": own, "base": method.rate or recipe.rate},
            {"params": rest, "base": recipe.rate},
            {"params": trunk, "base": recipe.trunk_rate},
        ]
        optimiser = OPTIMISERS[recipe.optimiser](
            [group for group in groups if group["params"]],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
        )
        student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
        student.train()
        average = AveragedModel(
            student, multi_avg_fn=_moving_average(recipe.average), use_buffers=True
        )
        pixels = Pixels(student).to(device)
        return cls(recipe, student, average, optimiser, method, pixels, teachers)

    @property
    def evaluated(self) -> CountingNet:
        """The moving average: nothing else ever is."""
        net = self.average.module
        assert isinstance(net, CountingNet)
        return net

    @property
    def nets(self) -> dict[str, nn.Module]:
        """All that a run's state must hold."""
        return {"student": self.student, "average": self.average, "method": self.method}

    def step(self, crops: Crops, *, number: int, bf16: bool) -> dict[str, float]:
        """One update. Returns the loss terms and the length of the gradient before clipping."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * schedule(self.recipe, number)
        crops = crops.to(self.pixels.mean.device)
        frames = self.pixels.normalise(crops.frames_NHW3).to(memory_format=torch.channels_last)
        batch = Batch(
            frames, crops.heads_N1hw, crops.density_N1hw, crops.points, crops.labelled_N,
            seed=(self.recipe.seed, number, VIEWS),
        )  # fmt: skip
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=bf16):
            terms = self.method.terms(
                batch, student=self.student, lessons=self._lessons(crops, frames),
                done=number / self.recipe.steps,
            )  # fmt: skip
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise ThrongError(f"the loss is not finite at step {number}: {_floats(terms)}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        learning = [p for group in self.optimiser.param_groups for p in group["params"]]
        length = torch.nn.utils.clip_grad_norm_(learning, self.recipe.clip)
        if not torch.isfinite(length):
            raise ThrongError(f"the gradient is not finite at step {number}: {_floats(terms)}")
        self.optimiser.step()
        self.average.update_parameters(self.student)
        return _floats(terms) | {"gradient": float(length)}

    @torch.no_grad()
    def _lessons(self, crops: Crops, frames_N3HW: Tensor) -> Lessons:
        if crops.taught_N1hw:
            lessons = {role: Look(density, {}) for role, density in crops.taught_N1hw.items()}
        else:
            lessons = {role: net.look(frames_N3HW) for role, net in self.teachers.items()}
        return heard(lessons, self.method.roles)


def _moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """One that forgets the first weights soon: they are noise, and would be seen for thousands of
    steps. After `number` updates it reaches back a tenth of them, at most 1 / (1 - decay).
    """

    def update(averages: Any, weights: Any, number: Any) -> None:
        early = (1 + int(number)) / (10 + int(number))
        get_ema_multi_avg_fn(min(decay, early))(averages, weights, number)

    return update


def schedule(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth, or no change."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    if recipe.decay == "constant":
        return 1.0
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}
