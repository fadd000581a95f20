"""How far an engine may be from the trained net: `parity` measures it, and serving asks for it.

Without torch: the service asks before it loads an engine.
"""

from collections.abc import Iterator

from deploy.bundle import Bundle, ParityRow

COUNT_GAP = {"fp32": 0.001}
"""Largest relative difference of a count; coarser precisions are judged by their MAE alone."""
MAE_LOST = {"int8": 0.015}
MAE_LOST_ELSE = 0.005
"""Largest share of the net's MAE that may be lost, over all and in each data set."""
MEASURED = ("int8",)
"""Graphs of their own, made from some pictures: not used before they were compared with the net.
Other precisions compute the fp32 graph more coarsely, and a bundle may come to a machine whose
engines nobody has compared yet."""
LEAST_PICTURES = 20
"""A figure of fewer proves nothing."""


def judged(row: ParityRow) -> bool:
    """Does any figure of the row have a budget? Without true counts only fp32 has one, and on few
    pictures none.
    """
    return row.pictures >= LEAST_PICTURES and any(_figures(row))


def excess(row: ParityRow) -> str | None:
    """Figure and budget where one is exceeded, in words."""
    for what, figure, budget in _figures(row):
        if not figure <= budget:  # NaN
            return f"{what} {figure:.3%} on {row.pictures} pictures, the budget is {budget:.1%}"
    return None


def unproven(bundle: Bundle, engine: str, precision: str) -> str | None:
    """Why an engine may not run the bundle in a precision, by the manifest; None where it may."""
    remedy = f"`throng-deploy parity {bundle.folder.resolve()} --pictures FOLDER`"
    rows = [r for r in bundle.manifest.parity if (r.engine, r.precision) == (engine, precision)]
    for row in rows:
        if over := excess(row):
            return f"{over}: export the bundle again, then {remedy}"
    if precision in MEASURED and not any(map(judged, rows)):
        return f"it was never held to the net: run {remedy}"
    return None


def _figures(row: ParityRow) -> Iterator[tuple[str, float, float]]:
    """Those of a row that are held to a budget, with it."""
    if row.precision in COUNT_GAP:
        yield "worst count gap", row.worst_count_gap, COUNT_GAP[row.precision]
    lost = MAE_LOST.get(row.precision, MAE_LOST_ELSE)
    if row.mae_lost is not None:
        yield "MAE lost", row.mae_lost, lost
    for part, figure in row.mae_lost_by_part.items():
        yield f"MAE lost on {part}", figure, lost
