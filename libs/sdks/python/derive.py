"""Writes what of the client is derived: `types/` from `../openapi.json`, `sync/` from `aio/`. `make sdk-types` runs it.

Answers become msgspec Structs without the bounds that only requests must keep, so that a newer server's answer still
decodes; requests become TypedDicts, so that a body is a plain dict.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import unasync

HERE: Final = Path(__file__).parent
DOCUMENT: Final = HERE.parent / "openapi.json"
PACKAGE: Final = HERE / "src" / "imagineo_client"

#: Names of the asynchronous source and of its twin, beside those that unasync knows.
_TWINS: Final = {
    "aio": "sync",
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "AsyncImagineo": "Imagineo",
    "AsyncEvents": "Events",
    "AsyncRun": "Run",
    "AsyncBatchRun": "BatchRun",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "aclose": "close",
    "aclosing": "closing",
    "async_sleep": "sleep",
}

Json = dict[str, Any]

#: OpenAI's clients read their own shape; probes and pages are for machines and people.
_NOT_OURS: Final = ("/v1/images/generations", "/healthz", "/readyz", "/openapi.json", "/docs", "/images", "/llms.txt")
#: Lines of a JSON-lines answer, and the data of events, are named in words only.
_ALSO_ANSWERED: Final = ("BatchResult", "Error", "Preview", "Webhook")
_BOUNDS: Final = frozenset(
    {"pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "multipleOf", "maxProperties"}
)
_SOURCES: Final = frozenset({"upload_id", "image", "source", "dry_run"})
#: What methods take as keyword arguments, beside those that they name themselves.
_OPTIONS: Final = {
    "GenerateOptions": ("Submission", frozenset({"positive_prompt", "model_id", "dry_run"})),
    "VariationsOptions": ("Variations", _SOURCES | {"count", "strength"}),
    "UpscaleOptions": ("Upscale", _SOURCES | {"scale"}),
    "ReplayOptions": ("ReplayRequest", frozenset[str]()),
    "ModelOptions": ("ModelForm", frozenset({"file", "name", "base_model_id"})),
    "KeyOptions": ("KeyRequest", frozenset({"name"})),
    "WebhookOptions": ("WebhookRequest", frozenset({"url"})),
}
_SHARED_OPTIONS: Final = (
    "--input-file-type=openapi",
    "--target-python-version=3.10",
    "--use-union-operator",
    "--use-standard-collections",
    "--use-schema-description",
    "--use-attribute-docstrings",
    "--use-field-description",
    "--disable-timestamp",
    "--use-title-as-name",
    "--no-use-annotated",
    "--formatters=builtin",
)
_ANSWERS: Final = (
    "--output-model-type=msgspec.Struct",
    "--output-datetime-class=datetime",
    "--use-subclass-enum",
    "--keyword-only",
)
_REQUESTS: Final = (
    "--output-model-type=typing.TypedDict",
    "--enum-field-as-literal=all",
    "--use-total-false-for-typed-dict",
    "--no-use-closed-typed-dict",
)


def answers(document: Json) -> Json:
    """The schemas of what is answered, without bounds and without defaults."""
    found = _closure(document, [*_referenced(document, "responses"), *_ALSO_ANSWERED])
    return _document({name: _titled(_unbounded(schema), name) for name, schema in found.items()})


def requests(document: Json) -> Json:
    """The schemas of what is asked."""
    found = _closure(document, _referenced(document, "requestBody"))
    found |= {name: _without(document, whole, taken) for name, (whole, taken) in _OPTIONS.items()}
    return _document({name: _titled(schema, name) for name, schema in found.items()})


def _without(document: Json, whole: str, taken: frozenset[str]) -> Json:
    schema = copy.deepcopy(document["components"]["schemas"][whole])
    properties = {name: one for name, one in schema["properties"].items() if name not in taken}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _document(schemas: Json) -> Json:
    info = {"title": "Imagineo", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": schemas}}


def _referenced(document: Json, part: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        if not path.startswith(_NOT_OURS):
            for operation in methods.values():
                yield from _names(operation.get(part, {}))


def _names(schema: object) -> list[str]:
    return re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema))


def _closure(document: Json, names: list[str] | Iterator[str]) -> Json:
    schemas, wanted, seen = document["components"]["schemas"], list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted += _names(schemas[name])
    return {name: copy.deepcopy(schema) for name, schema in schemas.items() if name in seen}


def _unbounded(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_unbounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _unbounded(value) for name, value in schema.items() if name not in _BOUNDS}
    kept = {name: value for name, value in kept.items() if name != "default" or isinstance(value, dict)}
    return _worded(kept) if isinstance(kept.get("enum"), list) else kept


def _worded(schema: Json) -> Json:
    """An enumeration of words that msgspec can decode: null stands beside it, numbers are just numbers."""
    values = schema.pop("enum")
    words = [value for value in values if value is not None]
    if not all(isinstance(word, str) for word in words):
        return {**schema, "type": "integer"}
    found = {"type": "string", "enum": words}
    return {**schema, "anyOf": [found, {"type": "null"}]} if None in values else {**schema, **found}


def _titled(schema: Json, name: str) -> Json:
    """Names what stands inline after where it stands: `limits` of Organization is OrganizationLimits."""
    if schema.get("type") == "array":
        return {**schema, "items": _titled(schema.get("items", {}), name)}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_titled(one, name) for one in schema["anyOf"]]}
    if schema.get("type") == "object" and "properties" in schema:
        properties = {field: _titled(one, name + _camel(field)) for field, one in schema["properties"].items()}
        return {**schema, "title": name, "properties": properties}
    return {**schema, "title": name} if "enum" in schema else schema


def _camel(field: str) -> str:
    return "".join(word.capitalize() for word in field.split("_"))


def generated(schemas: Json, options: tuple[str, ...]) -> str:
    """The module that datamodel-code-generator makes of a document."""
    with tempfile.TemporaryDirectory() as folder:
        source, module = Path(folder, "openapi.json"), Path(folder, "module.py")
        source.write_text(json.dumps(schemas))
        command = [
            sys.executable,
            "-m",
            "datamodel_code_generator",
            "--input",
            source,
            "--output",
            module,
            *_SHARED_OPTIONS,
            *options,
        ]
        subprocess.run(command, check=True, cwd=folder)
        return module.read_text()


def derived() -> dict[str, str]:
    """Every derived module by its path inside the package, formatted as the repository's code is."""
    document = json.loads(DOCUMENT.read_text())
    made = generated(answers(document), _ANSWERS)
    # A word that a newer server says is kept as it is, and what an older one does not say is None.
    made = made.replace("(str, Enum)", "(OpenEnum)").replace(" | UnsetType = UNSET", " | None = None")
    made = made.replace("from enum import Enum\n", "").replace("import UNSET, Struct, UnsetType", "import Struct")
    made = made.replace("import Struct\n", "import Struct\n\nfrom imagineo_client.words import OpenEnum\n", 1)
    modules = {"types/answers.py": made, "types/requests.py": generated(requests(document), _REQUESTS), **twins()}
    modules["types/answers.py"] = f'"""What is answered. Generated by `derive.py`."""\n\n{modules["types/answers.py"]}'
    modules["types/requests.py"] = f'"""What is asked. Generated by `derive.py`."""\n\n{modules["types/requests.py"]}'
    return {path: _formatted(path, source) for path, source in modules.items()}


def twins() -> dict[str, str]:
    """The synchronous twin of every module in `aio`."""
    sources = sorted((PACKAGE / "aio").glob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        rule = unasync.Rule(f"{PACKAGE}/aio/", f"{folder}/", additional_replacements=_TWINS)
        unasync.unasync_files([str(path) for path in sources], [rule])
        return {f"sync/{path.name}": Path(folder, path.name).read_text() for path in sources}


def _formatted(path: str, source: str) -> str:
    for command in (["check", "--fix-only", "--quiet", "--select=I,D"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, f"--stdin-filename={PACKAGE / path}", "-"]
        source = subprocess.run(ruff, check=True, input=source, capture_output=True, text=True).stdout
    return source


if __name__ == "__main__":
    for path, source in derived().items():
        (PACKAGE / path).write_text(source)
