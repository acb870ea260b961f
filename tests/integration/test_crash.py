"""A crash of the interpreter ends a test run with a non-zero exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_segmentation_fault_is_not_green(tmp_path: Path) -> None:
    test = tmp_path / "test_boom.py"
    test.write_text(
        "import os, signal\n"
        "def test_boom():\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", tmp_path, test],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode not in (0, 5)
    assert "Fatal Python error: Segmentation fault" in result.stderr
    assert "passed" not in result.stdout
