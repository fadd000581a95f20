"""Make every camera fault against a running service, and write the table of what came of it.

python -m tests.faults                       all faults, and cameras that come and go a thousand
                                             times: service/results/faults.md, if none failed
python -m tests.faults -k stall              some of them, any option of pytest: printed only
python -m tests.faults soak --minutes 30     memory over time: service/results/*-soak-*
"""

# ruff: noqa: T201

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults import figures, soak

HERE = Path(__file__).parent
CYCLES = "1000"  # of `test_leaks`: tests alone make fewer


def faults(options: list[str]) -> int:
    """The figures go through a file, because pytest imports the tests on its own.

    The table is written only where every fault was made and kept its promise, or said why not.
    """
    outcomes = figures.Outcomes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        os.environ["THRONG_FAULT_FIGURES"] = str(path)
        os.environ.setdefault("THRONG_LEAK_CYCLES", CYCLES)
        code = pytest.main([str(HERE), "-m", "slow", "-v", *options], plugins=[outcomes])
        measured = figures.load(path) if path.exists() else []
    page = figures.page(measured, outcomes)
    print(page)
    if code == pytest.ExitCode.OK and not options:
        figures.PAGE.parent.mkdir(exist_ok=True)
        figures.PAGE.write_text(page)
        print(f"written: {figures.PAGE}")
    return int(code)


def main() -> int:
    if sys.argv[1:2] != ["soak"]:
        return faults(sys.argv[1:])
    parser = argparse.ArgumentParser(description="Memory of a running service over time.")
    parser.add_argument("--minutes", type=float, default=30)
    data, text, plot = soak.save(soak.soak(parser.parse_args(sys.argv[2:]).minutes))
    print(text.read_text())
    for path in (data, text, plot):
        print(f"written: {path}")
    return 0


sys.exit(main())
