"""`throng check-config`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import open_bundle
from service.settings import Settings, load_settings


def check_config(
    config: Annotated[Path, typer.Argument(help="The YAML file of settings.")],
    schema: Annotated[
        bool, typer.Option(help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check a settings file and the bundle it names. Exit 0 fine, 2 settings, 3 bundle."""
    if schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))  # noqa: T201
        return
    settings = load_settings(config)
    bundle = open_bundle(settings.model.bundle)
    cameras = ", ".join(sorted(settings.cameras)) or "none"
    print(f"{config}: fine. bundle {bundle.name}; cameras: {cameras}")  # noqa: T201
