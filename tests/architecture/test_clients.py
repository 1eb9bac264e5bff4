"""What the clients derive is what the gateway says now: the document, the Python types, the synchronous half."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import imagineo_client
from imagineo_client.errors import BY_CODE

from services.gateway.published import published

CLIENTS = Path(__file__).parents[2] / "libs" / "sdks"


def derive() -> ModuleType:
    """The script, which is part of no package."""
    spec = importlib.util.spec_from_file_location("derive", CLIENTS / "python" / "derive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_document_is_the_gateways() -> None:
    assert (CLIENTS / "openapi.json").read_text() == published(), "run `make sdk-types`"


def test_the_python_client_derives_from_it() -> None:
    package = CLIENTS / "python" / "src" / "imagineo_client"
    derived = derive().derived()

    committed = {f"{folder}/{path.name}" for folder in ("types", "sync") for path in (package / folder).glob("*.py")}
    assert committed - {"types/__init__.py"} == set(derived)
    drifted = [path for path, text in derived.items() if (package / path).read_text() != text]
    assert drifted == [], "run `make sdk-types`"


def test_every_documented_code_has_a_class_of_its_name() -> None:
    document = json.loads((CLIENTS / "openapi.json").read_text())
    for code in document["components"]["schemas"]["ErrorCode"]["enum"]:
        words = "".join(word.capitalize() for word in code.removesuffix("_error").split("_")) + "Error"
        assert BY_CODE[code].__name__ == words
        assert getattr(imagineo_client, words) is BY_CODE[code]


def test_the_client_imports_nothing_of_the_server() -> None:
    sources = [*(CLIENTS / "python").rglob("*.py")]

    assert sources
    words = re.compile(r"^\s*(from|import) (imagineo|services|deploy)\b(?!_)", re.MULTILINE)
    assert not [path for path in sources if words.search(path.read_text())]
