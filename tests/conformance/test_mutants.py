"""The suites notice every connector that is broken on purpose, and say what it broke.

Each mutant meets the test that is named beside it, in one run of pytest of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import broken_destinations
import broken_sources

HERE = Path(__file__).parent
MODULES = (broken_sources, broken_destinations)

#: Of each mutant: the module's name, its own, and the test that notices it.
MUTANTS = [
    (module.__name__, name, noticed)
    for module in MODULES
    for name, (_, noticed) in module.MUTATIONS.items()
]

#: (mutant, test) -> what the failures said, one for each case of the test.
Outcomes = dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly"),
            *("-p", "no:cacheprovider", "-o", "python_files=broken_*.py"),
            *(f"--junitxml={report}", f"--rootdir={HERE.parents[1]}"),
            *(
                f"{HERE / module}.py::Test_{name}::{test}"
                for module, name, test in MUTANTS
            ),
        ],
        capture_output=True,
        check=False,
    )
    found: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        mutant = case.attrib["classname"].rpartition(".Test_")[2]
        test = case.attrib["name"].partition("[")[0]
        said = found.setdefault((mutant, test), [])
        said += [each.attrib["message"] for each in case.iter("failure")]
    return found


@pytest.mark.parametrize(("module", "name", "noticed"), MUTANTS)
def test_a_mutant_is_noticed_and_told_what_it_broke(
    module: str, name: str, noticed: str, outcomes: Outcomes
) -> None:
    said = outcomes[name, noticed]
    assert said
    for each in said:
        assert each.startswith("AssertionError: the contract says of ")


def test_there_are_mutants() -> None:
    assert len(MUTANTS) > 50
