"""Adapting a student to one site: MGD on the site's own frames, few of them labelled, and a gate.

MGD (`distill.methods.mgd`) wants two teachers. Without any the student's own moving average is
one: it follows what the labels teach, and hands that on to frames without labels. The other is the
student as it came, so that few labels of quiet hours do not make it forget crowds. Together they
can spread what the student was told about the site, and know nothing that nobody told it.

The last weights are kept whatever they are, nothing is chosen on the held-out frames. They are
asked once, whether the adapted student counts them no worse than before; else it is refused.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distill.augment import AS_SEEN
from distill.compare import Difference, difference
from distill.crops import CropMaker
from distill.data import Sample
from distill.evaluate import Counted, counts_of
from distill.loop import CPU, Learner, bf16_pays
from distill.methods import METHODS
from distill.recipes import Part, Recipe, Teacher
from distill.site import Site
from models.checkpoint import Checkpoint, save_checkpoint
from models.errors import ConfigError, DataError
from models.metrics import Scores
from models.nets import CountingNet
from models.progress import progress
from models.whole import folder_at, write_text

METHOD = "mgd"
ITSELF = {"deeper": "its own moving average", "wider": "itself, as it came"}
ADAPTED = "adapted.safetensors"


def site_recipe(
    student: Checkpoint, *, teachers: Mapping[str, str], steps: int, seed: int = 0
) -> Recipe:
    """Half of the crops have labels; `teachers` are names by role, for the record.

    What the student's own recipe froze stays frozen. Raises ConfigError for other roles.
    """
    roles = METHODS[METHOD]().roles
    if teachers and set(teachers) != set(roles):
        raise ConfigError(
            f"--teacher came for {', '.join(sorted(teachers))}: "
            f"wanted {' and '.join(roles)}, or none"
        )
    named = teachers or ITSELF
    return Recipe(
        net=student.name,
        net_arguments=student.arguments,
        train=(Part("site", "learned"), Part("site", "unlabelled", labelled=False)),
        validate=(Part("site", "held"),),
        method=METHOD,
        teachers={role: Teacher(name) for role, name in named.items()},
        frozen=tuple(student.facts.get("recipe", {}).get("frozen", ())),
        augmentation=replace(AS_SEEN, scale=(0.8, 1.25)),
        steps=steps,
        batch=8,
        rate=1e-4,
        warmup=min(50, steps),
        average=0.99,
        evaluate_every=steps,
        seed=seed,
    )


def adapted(
    student: Checkpoint, site: Site, *, teachers: Mapping[str, CountingNet], recipe: Recipe
) -> CountingNet:
    """The moving average after the recipe's last step; `student.net` stays as it is."""
    own, came = copy.deepcopy(student.net), copy.deepcopy(student.net)
    teachers = teachers or {"deeper": own, "wider": came}
    learner = Learner.of(recipe, copy.deepcopy(student.net), teachers)
    maker = CropMaker(recipe, [site.learned, site.unlabelled], stride=own.spec.stride)
    bf16 = bf16_pays(CPU)
    net = learner.evaluated
    with progress(f"adapting {student.name}", total=recipe.steps) as tick:
        for step, crops in enumerate(maker.ahead(range(recipe.steps))):
            terms = learner.step(crops, number=step, bf16=bf16)
            own.load_state_dict(net.state_dict())
            tick(step + 1, " ".join(f"{name} {value:.1f}" for name, value in terms.items()))
    return net.eval()


@dataclass(frozen=True)
class Measured:
    """The same frames counted by the student as it was and as it is, `better` of them better."""

    before: Scores
    after: Scores
    better: int
    difference: Difference
    frames: Sequence[Mapping[str, str | float]]

    @classmethod
    def of(
        cls, samples: Sequence[Sample], *, before: CountingNet, after: CountingNet
    ) -> "Measured":
        """In fp32. Raises DataError where there is no frame."""
        was, now = counts_of(samples, before), counts_of(samples, after)
        errors_was, errors_now = _errors(was), _errors(now)
        return cls(
            before=_scores(was),
            after=_scores(now),
            better=sum(b < a for a, b in zip(errors_was, errors_now, strict=True)),
            difference=difference(errors_now, errors_was),
            frames=[
                {"picture": a.id, "true": a.true, "before": a.predicted, "after": b.predicted}
                for a, b in zip(was, now, strict=True)
            ],
        )

    def plain(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        return asdict(self) | {"before": self.before.plain(), "after": self.after.plain()}


@dataclass(frozen=True)
class Outcome:
    """What the gate saw. `judged`: frames that it was not shown. `facts` say how it came about."""

    site: Site
    held: Measured
    judged: Measured | None
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls, site: Site, *, before: CountingNet, after: CountingNet, facts: Mapping[str, Any]
    ) -> "Outcome":
        held = Measured.of(site.held, before=before, after=after)
        judged = Measured.of(site.judge, before=before, after=after) if site.judge else None
        return cls(site, held, judged, facts)

    @property
    def refused(self) -> bool:
        return not self.held.difference.mean <= 0  # which is so of NaN, too

    def save(self, out: Path) -> None:
        """report.json and report.md."""
        said = {
            "refused": self.refused,
            "frames": {
                "learned": len(self.site.learned),
                "held": len(self.site.held),
                "unlabelled": len(self.site.unlabelled),
                "judge": len(self.site.judge),
            },
            "skipped": self.site.skipped,
            "held": self.held.plain(),
            "judge": self.judged.plain() if self.judged else None,
            **self.facts,
        }
        write_text(out / "report.json", json.dumps(said, indent=2) + "\n")
        write_text(out / "report.md", _page(self))


def keep(
    net: CountingNet, student: Checkpoint, *, recipe: Recipe, outcome: Outcome, out: Path
) -> Path:
    """Write report and adapted checkpoint; the checkpoint whole or not at all, and returned.

    Raises DataError where it counts the held-out frames worse (there is a report, but no
    checkpoint), and where it cannot be written (there is neither).
    """
    if outcome.refused:
        outcome.save(out)
        held = outcome.held
        raise DataError(
            f"refused: MAE {held.after.mae:.2f} on {len(held.frames)} held-out frames, it was "
            f"{held.before.mae:.2f}; see {out / 'report.md'}, and label more frames"
        )
    path = out / ADAPTED
    save_checkpoint(
        path, net, name=student.name, arguments=student.arguments,
        facts={"step": recipe.steps, "recipe": asdict(recipe), "adapted_from": student.facts},
    )  # fmt: skip
    outcome.save(out)
    return path


def claim(out: Path) -> None:
    """A folder is one adaptation's: an older checkpoint beside a new report would deceive.

    Raises DataError where there is something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder: give another --out, or remove it")
    folder_at(out)


def _page(outcome: Outcome) -> str:
    site, measured = outcome.site, {"held out, the gate": outcome.held}
    if outcome.judged:
        measured["for judging alone"] = outcome.judged
    rows = [
        f"| {name} | {len(one.frames)} | {one.before.mae:.2f} | {one.after.mae:.2f} "
        f"| {one.before.bias:+.2f} | {one.after.bias:+.2f} | {one.better} "
        f"| {one.difference.mean:+.2f} ({one.difference.low:+.2f} to {one.difference.high:+.2f}) |"
        for name, one in measured.items()
    ]
    skipped = f" {len(site.skipped)} could not be read." if site.skipped else ""
    facts = [f"- {name}: {value}" for name, value in outcome.facts.items()]
    return "\n".join(
        [
            f"# {'Refused' if outcome.refused else 'Adapted'}",
            "",
            f"The student learned from {len(site.learned)} frames with labels and "
            f"{len(site.unlabelled)} without, and from none of these:{skipped}",
            "",
            "| frames | n | MAE before | after | bias before | after | better on | change (95 %) |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            "The weights after the last step were measured, once: nothing was chosen on these",
            "frames. The interval is from a bootstrap over them, paired; of a handful it says",
            "little. The gate stops the harm that it can see. Frames that follow each other",
            "closely are alike: label some of another hour.",
            "",
            *facts,
            "",
        ]
    )


def _errors(counted: Sequence[Counted]) -> list[float]:
    return [abs(one.predicted - one.true) for one in counted]


def _scores(counted: Sequence[Counted]) -> Scores:
    return Scores.of(predicted=[c.predicted for c in counted], true=[c.true for c in counted])
