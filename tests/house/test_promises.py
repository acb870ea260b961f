"""The conformance suites ask for what the contract says, word for word."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cartridge_warp import model, powers, protocols
from repository import ROOT

SUITES = sorted((ROOT / "src/cartridge_warp/conformance").rglob("*.py"))


def promises() -> Iterator[tuple[Path, int, str, str]]:
    """File, line, place and words of each ``Promise(...)``."""
    for file in SUITES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Promise"
            ):
                where, words = map(ast.literal_eval, node.args)
                yield file, node.lineno, where, words


def said(where: str) -> str:
    """The docstring of a class or method of the contract, on one line."""
    name, _, method = where.partition(".")
    place = next(
        getattr(module, name)
        for module in (protocols, powers, model)
        if hasattr(module, name)
    )
    found = getattr(place, method) if method else place
    return " ".join(found.__doc__.split())


def test_there_are_promises() -> None:
    assert len(list(promises())) > 100


def test_every_promise_is_in_the_contract() -> None:
    strays = [
        f"{file.name}:{line}: {where} does not say {words!r}"
        for file, line, where, words in promises()
        if words not in said(where)
    ]
    assert not strays


def methods() -> list[str]:
    """Every method of the contract, and of its optional powers."""
    return [
        f"{name}.{method}"
        for module in (protocols, powers)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and getattr(kind, "_is_protocol", False)
        for method in vars(kind)
        if not method.startswith("_") and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("method", methods())
def test_every_method_has_a_promise_that_is_asked_for(method: str) -> None:
    assert method in {where for _, _, where, _ in promises()}


@pytest.mark.parametrize("end", ["source", "destination"])
def test_no_part_of_a_suite_hides_another(end: str) -> None:
    """The parts are bases of one class: a name that two of them define is lost once."""
    defined: dict[str, list[str]] = {}
    for file in SUITES:
        if file.parent.name != end:
            continue
        for kind in ast.parse(file.read_text("utf-8")).body:
            if isinstance(kind, ast.ClassDef) and kind.bases:
                for each in kind.body:
                    if isinstance(each, ast.FunctionDef):
                        defined.setdefault(each.name, []).append(kind.name)
    assert len(defined) > 40
    assert not {name: kinds for name, kinds in defined.items() if len(kinds) > 1}
