"""Every benchmark that can be named is there. Benchmarks run by hand, so that nothing else would tell."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHMARKS, OF_THE_ENGINE

NAMED = BENCHMARKS | OF_THE_ENGINE


@pytest.mark.parametrize("name", sorted(NAMED))
def test_the_named_benchmark_is_there(name: str) -> None:
    module, function = NAMED[name].rsplit(".", 1)
    spec = importlib.util.find_spec(f"tests.bench.{module}")
    assert spec is not None, f"{name}: tests.bench.{module} is gone"
    assert spec.origin is not None, f"{name}: tests.bench.{module} is a folder, not a module"
    tree = ast.parse(Path(spec.origin).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
