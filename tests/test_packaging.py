"""The four generic import names are ours, and the serving half stays light."""

import importlib
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

OURS = ("service", "models", "distill", "deploy")


def test_our_import_names_are_ours_alone() -> None:
    files = [importlib.import_module(name).__file__ for name in OURS]
    assert len({Path(file or "").parent.parent for file in files}) == 1
    owners = packages_distributions()
    assert {owner for name in OURS for owner in owners.get(name, [])} <= {"throng"}


def test_the_service_never_imports_torch() -> None:
    code = "import sys, service.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
