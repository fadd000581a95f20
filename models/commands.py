"""How our command lines end: what we raise on purpose is one line and a code, never a traceback."""

import sys
from collections.abc import Callable

import typer

from models.errors import ThrongError

TRAINING = {"h5py", "matplotlib", "onnx", "onnxscript", "safetensors", "scipy", "torch"}
"""What is not there where only the service is."""


def command_line(says: str) -> typer.Typer:
    """An empty one; `says` is its help, in Markdown."""
    return typer.Typer(
        help=says,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # the default swallows what stands in square brackets
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run_command(app: Callable[[], object], name: str) -> None:
    """Run a command line; exit codes: 0 fine, 2 the user's input, 3 our artefact, 1 the rest."""
    try:
        app()
    except ThrongError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201  # a command's own output
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING:
            raise
        print(  # noqa: T201  # a command's own output
            f"{name}: this wants the package {error.name} (pip install 'throng[train]')",
            file=sys.stderr,
        )
        sys.exit(1)
