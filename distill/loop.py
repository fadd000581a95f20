"""One step, and everything a step changes. The loop knows no method and no net by name."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.crops import Crops
from distill.methods import METHODS, Batch, Method
from distill.recipes import Recipe
from models.errors import ThrongError
from models.nets import CountingNet, Pixels


def bf16_pays() -> bool:
    """Whether this processor multiplies bf16 in hardware (AMX or AVX-512 BF16)."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


@dataclass
class Learner:
    """A student, its moving average and its optimiser."""

    recipe: Recipe
    student: CountingNet
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    method: Method
    pixels: Pixels

    @classmethod
    def of(cls, recipe: Recipe, student: CountingNet) -> "Learner":
        """Freezes what the recipe freezes; a trunk with initial weights learns at its own rate."""
        trunk, rest = [], []
        for name, parameter in student.named_parameters():
            if name.startswith(recipe.frozen):
                parameter.requires_grad = False
            elif name.startswith("trunk.") and recipe.trunk_weights:
                trunk.append(parameter)
            else:
                rest.append(parameter)
        groups = [
            {"params": rest, "base": recipe.rate},
            {"params": trunk, "base": recipe.trunk_rate},
        ]
        optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
        )
        student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
        student.train()
        average = AveragedModel(
            student, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True
        )
        method = METHODS[recipe.method](**recipe.method_arguments)
        return cls(recipe, student, average, optimiser, method, Pixels(student))

    def step(self, crops: Crops, *, number: int, bf16: bool) -> dict[str, float]:
        """One update. Returns the loss terms and the length of the gradient before clipping."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * schedule(self.recipe, number)
        frames = self.pixels.normalise(crops.frames_NHW3).to(memory_format=torch.channels_last)
        batch = Batch(frames, crops.heads_N1hw, crops.density_N1hw)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            terms = self.method.terms(batch, student=self.student, teachers={})
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise ThrongError(f"the loss is not finite at step {number}: {_floats(terms)}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.average.update_parameters(self.student)
        return _floats(terms) | {"gradient": float(length)}


def schedule(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}
