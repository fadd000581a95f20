"""`throng check-config`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import Bundle, open_bundle
from deploy.engines import AUTO, BACKENDS, proven
from service.settings import Model, Settings, load_settings


def check_config(
    config: Annotated[
        Path | None, typer.Argument(help="The YAML file of settings.", show_default=False)
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check a settings file, and the bundle and the engine that it names.

    Exit code 0: fine, 2: the settings, 3: the bundle, or a precision that its engine has not here.
    """
    if schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))  # noqa: T201
        return
    if config is None:
        raise typer.BadParameter("name a YAML file, or ask for the --schema", param_hint="CONFIG")
    settings = load_settings(config)
    bundle = open_bundle(settings.model.bundle)
    missing = _missing(settings.model, bundle)
    cameras = ", ".join(sorted(settings.cameras)) or "none"
    print(f"{config}: fine. bundle {bundle.name}; cameras: {cameras}{missing}")  # noqa: T201


def _missing(model: Model, bundle: Bundle) -> str:
    """Why no engine can run here, as an afterword: the file may be for another machine.

    Raises ConfigError for an engine that does not exist, EngineError or ParityError where the one
    that would run does not do so in that precision.
    """
    reasons = []
    for name in AUTO if model.engine == "auto" else (model.engine,):
        reason = BACKENDS[name].unavailable()
        if reason is None:
            proven(bundle, name, model.precision)
            return ""
        reasons.append(f"{name}: {reason}")
    return f"; no engine can run here ({'; '.join(reasons)})"
