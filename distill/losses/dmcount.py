"""DM-Count (Wang et al., NeurIPS 2020): the count, and how far people must walk to their places.

Its first term is the absolute error of the count and seeks the median, as published.

Shapes: N crops, h x w cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.batch import Batch
from models.nets import Look

SHRINK = 0.8  # of the blur, a round


@dataclass(frozen=True)
class DmCount:
    """Weights as published. `blur` is the entropic regularisation in px^2."""

    transport: float = 0.1
    variation: float = 0.01
    blur: float = 10.0

    def __call__(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        """A crop without heads has no distribution to match: only its count is compared."""
        predicted_Nhw, heads_Nhw = look.density_N1hw.float()[:, 0], batch.heads_N1hw[:, 0]
        true_N, total_N = heads_Nhw.sum(dim=(1, 2)), predicted_Nhw.sum(dim=(1, 2))
        shares_Nhw = predicted_Nhw / total_N.clamp(min=1)[:, None, None]
        wanted_Nhw = heads_Nhw / true_N.clamp(min=1)[:, None, None]
        stride = batch.frames_N3HW.shape[-1] / predicted_Nhw.shape[-1]
        walks = [
            self._walk(shares_hw, wanted_hw, stride=stride)
            for shares_hw, wanted_hw in zip(shares_Nhw, wanted_Nhw, strict=True)
        ]
        apart_N = (shares_Nhw - wanted_Nhw).abs().sum(dim=(1, 2)) / 2
        return {
            "count": (total_N - true_N).abs(),
            "transport": self.transport * torch.stack(walks),
            "variation": self.variation * true_N * apart_N,
        }

    def _walk(self, shares_hw: Tensor, wanted_hw: Tensor, *, stride: float) -> Tensor:
        """px^2 a person, from the prediction to the heads.

        At the optimum of the dual its potentials are constants (Danskin), so nothing is
        differentiated through the iterations.
        """
        if not wanted_hw.any():
            return shares_hw.new_zeros(())
        mass_hw = shares_hw.detach().clamp(min=0) + 1e-6  # nothing predicted: everywhere alike
        mass_hw = mass_hw / mass_hw.sum()
        here, there = potentials(mass_hw, wanted_hw, stride=stride, blur=self.blur)
        level = (here * mass_hw).sum()  # a potential is known up to a constant
        return ((here - level) * shares_hw).sum() + level + (there * wanted_hw).sum()


@torch.no_grad()
def potentials(
    from_hw: Tensor, to_hw: Tensor, *, stride: float, blur: float, rounds: int = 100
) -> tuple[Tensor, Tensor]:
    """Dual potentials (px^2, h x w each) of entropic transport between two maps that sum to 1.

    Sinkhorn's iteration in logarithms, as e^(-cost / blur) is 0 in fp32 from 30 px on. It starts at
    a blur of the whole map and shrinks it to the wanted one, then ends when less than one in twenty
    is misplaced: on 32 x 32 cells after 45 to 53 rounds, with a cost at most 4 % short (at the
    wanted blur from the start, 100 rounds fell up to 50 % short). Squared distances add up over
    rows and columns, so a round goes over these in turn: h + w terms a cell instead of h x w.
    """
    rows_hh, columns_ww = (_squared(side, stride, like=from_hw) for side in from_hw.shape)
    log_from, log_to = from_hw.log(), to_hw.log()
    here, there = torch.zeros_like(from_hw), torch.zeros_like(to_hw)
    now = max(blur, float(rows_hh.max() + columns_ww.max()))
    for _ in range(rounds):
        before = here
        here = -now * _reach(there / now + log_to, rows_hh / now, columns_ww / now)
        misplaced = (from_hw * torch.expm1((before - here) / now).abs()).sum()
        there = -now * _reach(here / now + log_from, rows_hh / now, columns_ww / now)
        if now == blur and misplaced < 0.05:
            break
        now = max(blur, SHRINK * now)
    return here, there


def _reach(log_hw: Tensor, rows_hh: Tensor, columns_ww: Tensor) -> Tensor:
    """log of sum over all cells of e^(log - cost), at every cell."""
    along_hw = torch.logsumexp(log_hw[:, None, :] - columns_ww[None], dim=2)
    return torch.logsumexp(along_hw[None] - rows_hh[:, :, None], dim=1)


def _squared(side: int, stride: float, *, like: Tensor) -> Tensor:
    at = torch.arange(side, dtype=like.dtype, device=like.device) * stride
    return (at[:, None] - at[None]).square()


loss = DmCount
