"""`throng-deploy list`."""

from rich.table import Table

from deploy.bundle import open_bundle, shipped
from deploy.commands._shown import console
from deploy.engines import BACKENDS, Backend


def list_() -> None:
    """Shipped bundles, and which engines can run here."""
    bundles = Table("bundle", "net", "parameters", "validation MAE")
    for name in shipped():
        m = open_bundle(name).manifest
        errors = ", ".join(f"{part} {scores.mae:.1f}" for part, scores in m.validation.items())
        bundles.add_row(m.name, m.net, f"{m.parameters / 1e6:.2f} M", errors)
    console.print(bundles)
    engines = Table("engine", "precisions of each bundle, or why it cannot run here")
    for name in BACKENDS.names():
        backend = BACKENDS[name]
        engines.add_row(name, backend.unavailable() or _runs(backend))
    console.print(engines)


def _runs(backend: Backend) -> str:
    opened = (open_bundle(name) for name in shipped())
    return "; ".join(f"{one.name}: {', '.join(backend.precisions(one))}" for one in opened)
