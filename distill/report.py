"""Pictures of a run: what the net sees on a few validation pictures, and how the errors fell."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from distill.data import Sample
from distill.evaluate import density_of
from distill.log import read
from models.density import count, spread
from models.nets import CountingNet

mpl.use("Agg")


def draw_predictions(samples: Sequence[Sample], net: CountingNet, path: Path) -> None:
    """A row a picture: the picture, the true density map, the net's."""
    figure, axes = plt.subplots(len(samples), 3, figsize=(12, 2.8 * len(samples)), squeeze=False)
    for row, sample in zip(axes, samples, strict=True):
        image = sample.read()
        predicted = density_of(image, net)
        true = spread(sample.points_P2, shape_hw=predicted.shape, stride=net.spec.stride)
        top = max(float(true.max()), 0.05)
        row[0].imshow(image)
        row[0].set_title(sample.id, fontsize=8)
        for axis, density, name in ((row[1], true, "true"), (row[2], predicted, "predicted")):
            axis.imshow(density, cmap="inferno", vmin=0, vmax=top)
            axis.set_title(f"{name}: {count(density):.1f}", fontsize=8)
        for axis in row:
            axis.axis("off")
    _save(figure, path)


def draw_curve(log: Path, path: Path) -> None:
    """Validation MAE of each part against steps, from a run's log."""
    entries = read(log)
    evaluations = [entry for entry in entries if "validation" in entry]
    figure, axis = plt.subplots(figsize=(8, 4.5))
    for part in evaluations[-1]["validation"]:
        steps = [entry["step"] for entry in evaluations]
        errors = [entry["validation"][part]["mae"] for entry in evaluations]
        axis.plot(steps, errors, marker="o", label=f"{part}: {errors[-1]:.1f}")
    axis.set(xlabel="step", ylabel="validation MAE, people a picture", yscale="log")
    axis.grid(alpha=0.3)
    axis.legend()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
