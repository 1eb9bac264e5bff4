"""Every alert of the chart by promtool's unit tests: a story in which it rings, one in which it stays silent."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promtool import promtool

REPOSITORY = Path(__file__).parents[3]
ALERTS = REPOSITORY / "deploy" / "helm" / "imagineo" / "files" / "alerts" / "imagineo.yaml"
GROUPS = yaml.safe_load(ALERTS.read_text())["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
DAY_S = 86_400


@dataclass
class Story:
    """What is measured each minute, and what rings when."""

    alert: str
    series: dict[str, str]
    at: str
    rings: list[dict[str, str]] = field(default_factory=list)
    """The labels of each alert that rings, besides the severity."""


ENDED = 'imagineo_status_runs_ended_total{status="%s", pod="%s"}'
AGE = 'imagineo_status_queue_age_seconds{base_model="starter", lane="%s", pod="%s"}'
RUNS = 'imagineo_status_queue_runs{base_model="%s", lane="free", pod="%s"}'
WORKERS = 'imagineo_status_workers{base_model="%s", pod="%s"}'
REQUESTS = 'imagineo_gateway_requests_total{status="%s", route="/v1/generate", pod="g"}'
BUCKET = 'imagineo_gateway_request_seconds_bucket{route="/v1/generate", le="%s", pod="g"}'
EXPIRES = 'imagineo_tls_certificate_expires_at_seconds{role="grpc", pod="auth-0"}'

STORIES = [
    Story(
        "ImagineoRunsFail",
        {
            ENDED % ("failed", "a"): "0+1x60",
            ENDED % ("failed", "b"): "0x60",
            ENDED % ("completed", "a"): "0+9x60",
            ENDED % ("canceled", "a"): "0+90x60",
        },
        "40m",
        [{}],
    ),
    Story("ImagineoRunsFail", {ENDED % ("failed", "a"): "0 0 1 1 2 2x40", ENDED % ("completed", "a"): "0x45"}, "16m"),
    Story("ImagineoRunsFail", {ENDED % ("failed", "a"): "0+1x60", ENDED % ("completed", "a"): "0+99x60"}, "40m"),
    Story(
        "ImagineoQueueOld",
        {AGE % ("premium", "a"): "400x20", AGE % ("premium", "b"): "400x20", AGE % ("free", "a"): "1700x20"},
        "10m",
        [{"base_model": "starter", "lane": "premium"}],
    ),
    Story("ImagineoQueueOld", {AGE % ("free", "a"): "2000x20"}, "10m", [{"base_model": "starter", "lane": "free"}]),
    Story("ImagineoQueueOld", {AGE % ("premium", "a"): "200x20", AGE % ("free", "a"): "1700x20"}, "10m"),
    Story(
        "ImagineoNoWorker",
        {RUNS % ("sdxl", "a"): "3x20", RUNS % ("sdxl", "b"): "3x20", WORKERS % ("sdxl", "a"): "0x20"},
        "15m",
        [{"base_model": "sdxl"}],
    ),
    Story(
        "ImagineoNoWorker",
        {RUNS % ("sdxl", "a"): "3x20", WORKERS % ("sdxl", "a"): "0x20", WORKERS % ("sdxl", "b"): "1x20"},
        "15m",
    ),
    Story("ImagineoNoWorker", {RUNS % ("sdxl", "a"): "0x20", WORKERS % ("sdxl", "a"): "0x20"}, "15m"),
    Story("ImagineoWorkerLost", {'imagineo_status_workers_lost_total{pod="a"}': "0 0 0 1 1 1x20"}, "5m", [{}]),
    Story("ImagineoWorkerLost", {'imagineo_status_workers_lost_total{pod="a"}': "1x30"}, "20m"),
    Story("ImagineoOutboxStuck", {'imagineo_status_outbox_job_age_seconds{pod="a"}': "0+60x10"}, "6m", [{}]),
    Story("ImagineoOutboxStuck", {'imagineo_status_outbox_job_age_seconds{pod="a"}': "90 0 90 0 90 0 90 0"}, "6m"),
    Story("ImagineoEndingsStuck", {'imagineo_status_outbox_ending_age_seconds{pod="a"}': "0+60x20"}, "10m", [{}]),
    Story("ImagineoEndingsStuck", {'imagineo_status_outbox_ending_age_seconds{pod="a"}': "5x20"}, "10m"),
    Story("ImagineoWebhookBacklog", {'imagineo_webhooks_oldest_untried_seconds{pod="a"}': "0+60x20"}, "15m", [{}]),
    Story("ImagineoWebhookBacklog", {'imagineo_webhooks_oldest_untried_seconds{pod="a"}': "30x20"}, "15m"),
    Story(
        "ImagineoBrokerAway",
        {'imagineo_broker_connected{pod="a"}': "1 0x10", 'imagineo_broker_connected{pod="b"}': "1x11"},
        "5m",
        [{"pod": "a"}],
    ),
    Story("ImagineoBrokerAway", {'imagineo_broker_connected{pod="a"}': "1 0 1 0 1 1"}, "5m"),
    Story(
        "ImagineoBrokerRefuses",
        {'imagineo_broker_errors_total{kind="permissions_violation", pod="a"}': "0 0 1 1 1 1"},
        "5m",
        [{"pod": "a"}],
    ),
    Story("ImagineoBrokerRefuses", {'imagineo_broker_errors_total{kind="connect", pod="a"}': "0 9 9 9 9 9"}, "5m"),
    Story("ImagineoApiFails", {REQUESTS % "503": "0+5x20", REQUESTS % "200": "0+95x20"}, "12m", [{}]),
    Story("ImagineoApiFails", {REQUESTS % "429": "0+50x20", REQUESTS % "200": "0+95x20"}, "12m"),
    Story(
        "ImagineoSubmitsSlow",
        {BUCKET % "1": "0+90x30", BUCKET % "2.5": "0+100x30", BUCKET % "+Inf": "0+100x30"},
        "20m",
        [{}],
    ),
    Story(
        "ImagineoSubmitsSlow",
        {BUCKET % "0.1": "0+100x30", BUCKET % "1": "0+100x30", BUCKET % "+Inf": "0+100x30"},
        "20m",
    ),
    Story(
        "ImagineoEventLoopLate",
        {'imagineo_auth_event_loop_lag_seconds{pod="auth-0"}': "0.9x20"},
        "10m",
        [{"pod": "auth-0"}],
    ),
    Story("ImagineoEventLoopLate", {'imagineo_auth_event_loop_lag_seconds{pod="auth-0"}': "0.1x20"}, "10m"),
    Story("ImagineoCertificateExpires", {EXPIRES: f"{2 * DAY_S}x30"}, "20m", [{"pod": "auth-0", "role": "grpc"}]),
    Story("ImagineoCertificateExpires", {EXPIRES: f"{30 * DAY_S}x30"}, "20m"),
    Story("ImagineoCertificateEnds", {EXPIRES: f"{DAY_S // 5}x30"}, "20m", [{"pod": "auth-0", "role": "grpc"}]),
    Story("ImagineoCertificateEnds", {EXPIRES: f"{2 * DAY_S}x30"}, "20m"),
]


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_rings_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    """The sentences are not repeated: they are asked for in `test_every_alert_says_what_to_do`."""
    stories = [story for story in STORIES if story.alert == alert]
    assert any(story.rings for story in stories), "no story in which it rings"
    assert any(not story.rings for story in stories), "no story in which it stays silent"
    quiet = [{key: value for key, value in rule.items() if key != "annotations"} for rule in _rules_of(alert)]
    (tmp_path / "alerts.yaml").write_text(json.dumps({"groups": [{"name": "group", "rules": quiet}]}))
    (tmp_path / "stories.yaml").write_text(json.dumps(_told(stories)))

    done = subprocess.run(
        [promtool(), "test", "rules", "stories.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def _rules_of(alert: str) -> list[dict[str, Any]]:
    return next(group["rules"] for group in GROUPS if any(rule.get("alert") == alert for rule in group["rules"]))


def _told(stories: list[Story]) -> dict[str, Any]:
    return {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": story.at,
                        "alertname": story.alert,
                        "exp_alerts": [
                            {"exp_labels": {**RULES[story.alert]["labels"], **labels}} for labels in story.rings
                        ],
                    }
                ],
            }
            for story in stories
        ],
    }


def test_the_rules_are_well_formed() -> None:
    done = subprocess.run([promtool(), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_says_what_is_wrong_and_what_to_do(alert: str) -> None:
    rule = RULES[alert]

    assert rule["labels"]["severity"] in ("warning", "critical")
    assert "{{ $value" in rule["annotations"]["summary"] or "{{ $labels" in rule["annotations"]["summary"]
    assert len(rule["annotations"]["runbook"]) > 60
