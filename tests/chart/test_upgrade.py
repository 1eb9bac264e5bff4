"""What an install and an upgrade do in which order, and what stays as it is."""

from __future__ import annotations

import pytest

from tests.chart.conftest import rendered
from tests.support.chart import RELEASE, Manifest, Rendered, component, pod, render, variables

CONTROL = ("gateway", "auth", "catalog", "status", "webhooks")


def test_migrations_come_first_where_the_database_is_there_before() -> None:
    (job,) = [found for found in rendered("production").of("Job") if component(found) == "job-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    commands = [container["command"][2:4] for container in pod(job)["containers"]]
    assert commands == [[f"services.{name}", "migrate"] for name in ("auth", "catalog", "status", "webhooks")]
    for kind in ("ServiceAccount", "NetworkPolicy"):
        before = rendered("production").one(kind, "job-migrations")["metadata"]["annotations"]
        assert int(before["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_migrations_run_beside_the_pods_where_the_database_is_the_charts_own() -> None:
    (job,) = [found for found in rendered("laptop").of("Job") if component(found) == "job-migrations"]
    assert "annotations" not in job["metadata"]


def test_a_job_that_fails_leaves_its_pods_and_their_last_words(chart: Rendered) -> None:
    for job in chart.of("Job"):
        assert pod(job)["restartPolicy"] == "Never"
        assert job["spec"]["podFailurePolicy"]["rules"] == [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        ]
        # Migrations wait for the database by themselves; the others try until what they need has started.
        assert job["spec"]["backoffLimit"] == {"job-migrations": 3, "job-queues": 6, "job-models": 8}[component(job)]
    for name, spec in chart.pods().items():
        for container in spec["containers"]:
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", name


@pytest.mark.parametrize(
    "change",
    [
        "image.tag=0.2.0",
        "logLevel=DEBUG",
        "models.deadlineSeconds=60",
        "image.pullPolicy=Always",
        "tracing.endpoint=http://t:4318",
    ],
)
def test_what_a_job_does_never_changes_under_its_name(change: str) -> None:
    """Kubernetes refuses it, and with it the whole upgrade."""

    def jobs(*options: str) -> dict[str, Manifest]:
        return {found["metadata"]["name"]: found["spec"] for found in render("laptop", *options).of("Job")}

    before, after = jobs(), jobs("--set", change)
    assert before != after
    assert all(before[name] == after[name] for name in before.keys() & after.keys())


def test_a_job_stays_as_it_is_when_nothing_of_it_changes() -> None:
    names = [
        {found["metadata"]["name"] for found in chart.of("Job")}
        for chart in (rendered("laptop"), render("laptop", "--set", "gateway.replicas=3"))
    ]
    assert names[0] == names[1]


def test_jobs_that_are_cheap_run_again_and_models_are_fetched_once() -> None:
    kept = {
        component(found): found["spec"].get("ttlSecondsAfterFinished") for found in rendered("production").of("Job")
    }
    assert kept == {"job-migrations": 86_400, "job-queues": 86_400, "job-models": None}


def test_migrations_wait_for_a_database_that_still_starts() -> None:
    """By themselves: restarts of all containers count together, and would soon be too many."""
    (job,) = [found for found in rendered("laptop").of("Job") if component(found) == "job-migrations"]
    for container in pod(job)["containers"]:
        assert container["command"][4:] == ["--wait-s", str(job["spec"]["activeDeadlineSeconds"])]


def test_a_base_model_has_the_memory_and_the_time_that_it_needs() -> None:
    values = ("--set", "models.deadlineSeconds=7200,models.resources.limits.memory=6Gi")
    (job,) = [found for found in render("production", *values).of("Job") if component(found) == "job-models"]
    assert job["spec"]["activeDeadlineSeconds"] == 7200
    assert pod(job)["containers"][0]["resources"]["limits"] == {"memory": "6Gi"}
    assert variables(job)["HF_HUB_DISABLE_XET"] == "1"


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


def test_a_rollout_has_not_failed_while_a_worker_loads_its_weights() -> None:
    for manifest in rendered("gpu-pools").of("Deployment"):
        if component(manifest) == "worker":
            (container,) = pod(manifest)["containers"]
            probe = container["startupProbe"]
            starts_s = probe["periodSeconds"] * probe["failureThreshold"]
            drains_s = float(variables(manifest)["IMAGINEO_WORKER_DRAIN_S"])
            assert manifest["spec"]["progressDeadlineSeconds"] > starts_s + drains_s


def test_the_evaluation_files_stay_as_the_rows_do_at_an_uninstall() -> None:
    """Helm leaves the volume of a StatefulSet: of both or of none something remains."""
    claim = rendered("laptop").one("PersistentVolumeClaim", "blobs")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
