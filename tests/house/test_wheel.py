"""What a wheel and an sdist hold: sources for a build, nothing generated, no tests."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from repository import ROOT

#: What the build reads. Its earlier output comes along, so that nothing that is
#: already compiled is compiled again.
NEEDED = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "src",
    "cwarp_core",
    "build",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, so that a build leaves nothing in the real one."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                copy / name,
                ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "bdist*"),
            )
        elif source.exists():
            shutil.copy2(source, copy / name)
    # A stray test and a stray generated file must not slip in.
    (copy / "tests" / "core").mkdir(parents=True)
    (copy / "tests" / "core" / "test_stray.py").write_text("assert True\n")
    (copy / "cwarp_core" / "stray.c").write_text("int stray;\n")
    return copy


def run(checkout: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel(checkout: Path, tmp_path: Path) -> None:
    run(
        checkout,
        *("-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"),
        *("--quiet", "--wheel-dir", str(tmp_path)),
    )
    (wheel,) = tmp_path.glob("cartridge_warp-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = wheel.name.split("-cp")[0] + ".dist-info"
    tops = {Path(name).parts[0] for name in names}
    assert tops == {"cartridge_warp", "cwarp_core", info}
    modules = {source.stem for source in (ROOT / "cwarp_core").glob("*.pyx")}
    compiled = {Path(name).name.partition(".")[0] for name in names if ".so" in name}
    assert compiled == modules
    stubs = {f"cwarp_core/{path.name}" for path in (ROOT / "cwarp_core").glob("*.pyi")}
    assert stubs | {"cwarp_core/py.typed", "cartridge_warp/py.typed"} <= set(names)
    python = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "cartridge_warp").rglob("*")
        if path.suffix in {".py", ".sql", ".html"}
    }
    assert python <= set(names)
    assert not [name for name in names if name.endswith((".c", ".pyx", ".pxd"))]
    assert not [name for name in names if "test" in Path(name).name]


def test_sdist(checkout: Path, tmp_path: Path) -> None:
    run(
        checkout,
        *("-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)),
    )
    (sdist,) = tmp_path.glob("cartridge_warp-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    core = {
        f"cwarp_core/{path.name}"
        for pattern in ("*.pyx", "*.pxd", "*.pyi")
        for path in (ROOT / "cwarp_core").glob(pattern)
    }
    assert core | {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert not [name for name in names if name.endswith((".c", ".so"))]
    assert not [name for name in names if name.startswith(("tests", "build"))]
