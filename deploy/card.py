"""The model card of a bundle, written from its manifest."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.bundle import MANIFEST, Manifest, ParityRow
from models.interval import OFFSET
from models.whole import write_text

CARD = "README.md"
LICENCE = "research data; clear it, or retrain on your own pictures, before commercial use"

PARTS = {
    "sha": "ShanghaiTech part A",
    "shb": "ShanghaiTech part B",
    "brt": "Beijing-BRT (cameras that training knew)",
    "dtd": "pictures without people (DTD textures)",
    "plaza": "drawn plaza",
    "unity": "rendered crowds (Unity)",
}
"""The first word of a picture's id, in words."""

SPLITS = {"train_brt": "brt", "train_empty": "dtd", "train_rendered": "unity"}
"""Splits of the data pack that hold one data set."""


def describe(folder: Path, manifest: Manifest) -> None:
    """Write the card, then, last, the manifest; each replaces the old one at once."""
    write_text(folder / CARD, card(manifest))
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def part_in_words(part: Mapping[str, Any]) -> str:
    """A recipe's part: what the pictures are, and which they were."""
    word = part["prefix"].rstrip("_") or SPLITS.get(part["split"], part["dataset"])
    which = f"{part['dataset']}, split {part['split']}"
    fold = "" if part["fold"] == "all" else f", fold {part['fold']}"
    return f"{PARTS.get(word, word)} ({which}{fold}; share {part['weight']:g})"


def lost_in_words(row: ParityRow) -> str:
    """The MAE that an engine loses, over all and on each data set."""
    if row.mae_lost is None:
        return "-"
    parts = ", ".join(f"{part} {lost:+.2%}" for part, lost in row.mae_lost_by_part.items())
    return f"{row.mae_lost:+.2%}" + (f" ({parts})" if len(row.mae_lost_by_part) > 1 else "")


def card(m: Manifest) -> str:
    sections = (_what, _input, _validation, _interval, _training, _parity, _limits, _again)
    return "\n\n".join(section(m) for section in sections)


def _what(m: Manifest) -> str:
    side = m.input.stride
    return f"""# {m.name}

A network that counts people in a picture: `{m.net}`, {m.parameters / 1e6:.2f} M parameters. It
gives a density map, people per cell of {side} x {side} pixels; the sum of the map is the count.

Made {m.created} from commit `{m.commit}`. `manifest.json` holds
everything on this page as data, and the SHA-256 of every file that is loaded. This page is written
from it: do not edit it by hand."""


def _input(m: Manifest) -> str:
    rule = m.input
    return f"""## Input and output

`frames`: {rule.dtype}, {rule.layout}, {rule.colour}, any number of them; height and width are
multiples of {rule.multiple} (pad right and below by repeating the last row and column).
Normalisation is inside the graph. `density`: float32, N x height / {rule.stride} x width /
{rule.stride}."""


def _validation(m: Manifest) -> str:
    rows = []
    for part, s in m.validation.items():
        errors = (f"{number:.2f}" for number in (s.mae, s.mae_trimmed, s.rmse))
        nae = "-" if s.nae is None else f"{s.nae:.3f}"
        name = PARTS.get(part, part)
        rows.append((name, str(s.pictures), f"{s.mean_true:.1f}", *errors, nae, f"{s.bias:+.2f}"))
    head = ("validation on", "pictures", "mean count", "MAE", "trimmed", "RMSE", "NAE", "bias")
    return f"""## Validation

These are **validation** errors, in people a picture: the weights were chosen on these pictures, so
expect more on others. They are not the official test numbers of any data set. "Trimmed" leaves out
the three largest errors; NAE is error / true count; bias is the mean of predicted - true.

{_table(head, rows)}"""


def _interval(m: Manifest) -> str:
    table = m.interval
    rows = [
        ("any" if b.up_to is None else f"{b.up_to:.1f}", f"{b.below:.3f}", f"{b.above:.3f}")
        for b in table.bins
    ]
    return f"""## Interval

A count c comes with [c - below x (c + {OFFSET:g}), c + above x (c + {OFFSET:g})], never below zero,
with `below` and `above` from the first row whose count c does not exceed. It was fitted so that
{table.coverage:.0%} of the counts of pictures like the {table.pictures} validation pictures lie
inside (split-conformal, Lei et al. 2018). On pictures of another kind the share can be lower; so it
can because the weights were chosen on the same pictures. Fit it again on your own.

{_table(("count up to", "below", "above"), rows)}"""


def _training(m: Manifest) -> str:
    t = m.training
    begin, before = t.recipe.get("trunk_weights"), [f"`{run}`" for run in _starts(m)]
    started = f"The trunk started from `{begin}`." if begin else "It started from random weights."
    if before:
        mean, runs = ("the mean of ", "runs") if before[1:] else ("", "run")
        started = f"It started from {mean}the last weights of the {runs} {' and '.join(before)}."
    parts = "\n".join(f"- {part}" for part in t.data)
    return f"""## Trained on

{parts}

{t.steps} steps, method `{t.recipe.get("method", "unknown")}`. {started}
The whole recipe is in `manifest.json` under `training.recipe`.

**Licence of the data**: {t.licence}."""


def _starts(m: Manifest) -> list[str]:
    """The runs whose last weights its first ones are the mean of."""
    first = m.training.recipe.get("starts_from")
    return [first, *m.training.recipe.get("averaged_with", ())] if first else []


def _parity(m: Manifest) -> str:
    if not m.parity:
        return "## Engines\n\nNot compared with the net yet: `throng-deploy parity` does that."
    rows = []
    for r in m.parity:
        gaps = (f"{r.worst_count_gap:.4%}", f"{r.worst_cell_gap:.5f}", lost_in_words(r))
        rows.append((f"{r.engine} {r.precision}", str(r.pictures), *gaps))
    head = ("engine", "pictures", "worst count gap", "worst cell gap, people", "MAE lost")
    int8 = f" The int8 model was calibrated on {m.calibrated_on} pictures." * bool(m.calibrated_on)
    return f"""## Engines

Each engine against the trained net in fp32, on whole pictures at their own size.{int8}

{_table(head, rows)}"""


def _limits(_: Manifest) -> str:
    return """## What it does not do

- It counts. It does not detect, track, recognise or identify anyone.
- It was trained and validated on the pictures named above and on no others. Whatever looks
  different (fisheye, thermal and aerial pictures, very near or very small heads, weather) was not
  measured: measure it first.
- What looks like a crowd may be counted as one: foliage, rubble, seats, mirrors, posters. The table
  above says how far that goes on pictures without people, where it has such a row.
- It knows nothing of earlier frames: counts of one camera differ a little from frame to frame.
- Do not let it decide alone on anybody's safety: pair an alert with a person who looks."""


def _again(m: Manifest) -> str:
    recipe = m.training.recipe
    runs = [*_starts(m), *(one["run"] for one in recipe.get("teachers", {}).values())]
    before = ", ".join(f"`{run}`" for run in runs)
    first = f"""
It needs other runs, which may need others in turn: make {before} first.
`make distill` makes all runs of the bundles that ship, in their order.""" * bool(before)
    return f"""## Make it again

`RECIPE` stands for the recipe that `manifest.json` holds under `training.recipe`, `RUN` for the
folder of its run.{first}

```
throng-distill run RECIPE --out RUN
throng-distill evaluate RUN/best.safetensors --split val --counts counts.csv
throng-deploy export RUN/best.safetensors --name {m.name} --counts counts.csv
throng-deploy quantise {m.name} --pictures ../shared/data/train
throng-deploy parity {m.name} --pictures ../shared/data/val
```

Give `export` one `--counts` file for each data set of the table above. `weights.safetensors` is the
checkpoint itself.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; all columns but the first are numbers."""
    lines = (head, ("---", *("---:" for _ in head[1:])), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
