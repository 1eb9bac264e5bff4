"""What an install and an upgrade do in which order, and what stays as it is."""

from __future__ import annotations

from tests.chart.conftest import rendered
from tests.support.chart import RELEASE, component, pod, render

CONTROL = ("gateway", "auth", "catalog", "status", "webhooks")


def test_migrations_come_first_where_the_database_is_there_before() -> None:
    (job,) = [found for found in rendered("production").of("Job") if component(found) == "job-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    commands = [container["command"][2:] for container in pod(job)["containers"]]
    assert commands == [[f"services.{name}", "migrate"] for name in ("auth", "catalog", "status", "webhooks")]
    for kind in ("ServiceAccount", "NetworkPolicy"):
        before = rendered("production").one(kind, "job-migrations")["metadata"]["annotations"]
        assert int(before["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_migrations_run_beside_the_pods_where_the_database_is_the_charts_own() -> None:
    (job,) = [found for found in rendered("laptop").of("Job") if component(found) == "job-migrations"]
    assert "annotations" not in job["metadata"]


def test_a_job_runs_again_when_its_work_or_its_image_changes() -> None:
    def names(*options: str) -> set[str]:
        chart = render("laptop", *options) if options else rendered("laptop")
        return {found["metadata"]["name"] for found in chart.of("Job")}

    before, newer = names(), names("--set", "image.tag=0.2.0")
    assert not before & newer
    assert names("--set", "gateway.replicas=3") == before


def test_selectors_and_services_do_not_change_between_versions() -> None:
    """A Deployment's selector may not change, and a Service's name is in everybody's values."""
    older, newer = rendered("production"), render("production", "--set", "image.tag=9.9.9")
    for kind in ("Deployment", "StatefulSet"):
        selectors = [
            {found["metadata"]["name"]: found["spec"]["selector"] for found in chart.of(kind)}
            for chart in (older, newer)
        ]
        assert selectors[0] == selectors[1]
        for selector in selectors[0].values():
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & selector["matchLabels"].keys()
    assert {found["metadata"]["name"] for found in older.of("Service")} == {f"{RELEASE}-{name}" for name in CONTROL}
