"""The chart's alerts and dashboards speak of metrics that the running platform really exposes, each in sound PromQL."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.platform import REPOSITORY, Platform
from tests.support.promtool import promtool

FILES = REPOSITORY / "deploy" / "helm" / "imagineo" / "files"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
RULES = [
    rule
    for path in sorted((FILES / "alerts").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
_NAME = re.compile(r"\b(?:imagineo|process)[a-z0-9_:]+")
_PATTERN = re.compile(r'__name__=~"([^"]+)"')


def asked(expression: str) -> tuple[set[str], set[str]]:
    """The names that an expression asks for, and its patterns of names."""
    patterns = set(_PATTERN.findall(expression))
    bare = re.sub(r'"[^"]*"', "", _PATTERN.sub("", expression))
    return set(_NAME.findall(bare)), patterns


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.fixture(scope="module")
def exposed(platform: Platform) -> set[str]:
    """The names of all series of all programs, after a picture was drawn."""
    with platform.account() as account:
        account.draw()
    names: set[str] = set()
    for url in platform.ready["metrics"].values():
        text = httpx.get(url, trust_env=False).text
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
            parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names.update(name + part for part in parts)
    return names


def test_every_metric_that_alerts_and_dashboards_ask_for_is_exposed(exposed: set[str]) -> None:
    missing = []
    for place, expression in expressions():
        names, patterns = asked(expression)
        assert names or patterns, f"{place} asks for nothing"
        missing += [(place, name) for name in names - exposed - RECORDED]
        missing += [
            (place, pattern) for pattern in patterns if not any(re.fullmatch(pattern, name) for name in exposed)
        ]

    assert not missing


def test_every_label_that_is_asked_for_by_a_value_is_one_that_the_platform_sets(
    exposed: set[str], platform: Platform
) -> None:
    text = "\n".join(httpx.get(url, trust_env=False).text for url in platform.ready["metrics"].values())
    for place, expression in expressions():
        for name, wanted in re.findall(r"\b(imagineo_[a-z_]+)\{([^}]*)\}", expression):
            for label in re.findall(r"(\w+)(?:=|!=|=~|!~)\"", wanted):
                samples = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ", text, re.MULTILINE)
                labelled = [sample for sample in samples if f'{label}="' in sample]
                assert labelled or not samples, (place, name, label)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_as_it_is(path: Path) -> None:
    board = json.loads(path.read_text())

    assert board["uid"] == f"imagineo-{path.stem}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(target["legendFormat"] for panel in board["panels"] for target in panel["targets"])
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in board["panels"])


def test_every_expression_of_the_dashboards_is_sound(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(expressions())
    ]
    (tmp_path / "panels.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    done = subprocess.run(
        [promtool(), "check", "rules", "panels.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
