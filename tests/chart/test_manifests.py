"""What Helm makes of every profile is what Kubernetes takes, always the same, with pods as closed as they can be."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import kubernetes_validate
import pytest

from tests.support.chart import NAMESPACE, Rendered, lint, refusal, render

#: Kinds that Kubernetes itself does not know; `test_custom_resources` checks them.
CUSTOM = {"ScaledObject", "Certificate", "PodMonitor", "PrometheusRule", "HTTPRoute"}


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """The validator reads megabytes of definitions anew for each manifest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            kubernetes_validate.utils, "schema_contents", functools.cache(kubernetes_validate.utils.schema_contents)
        )
        yield


def test_helm_finds_nothing_wrong(profile: str) -> None:
    done = lint(profile)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_renderings_are_equal(profile: str, chart: Rendered) -> None:
    assert render(profile).text == chart.text


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_every_manifest(chart: Rendered, version: str) -> None:
    for manifest in chart.manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_says_where_it_belongs(chart: Rendered) -> None:
    for manifest in chart.manifests:
        metadata = manifest["metadata"]
        if manifest["kind"] != "PriorityClass":  # the cluster's
            assert metadata["namespace"] == NAMESPACE, metadata
        labels = metadata["labels"]
        assert labels["app.kubernetes.io/name"] == "imagineo"
        assert labels["app.kubernetes.io/component"]


def test_names_are_unique(chart: Rendered) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in chart.manifests]
    assert len(names) == len(set(names))


def test_the_longest_names_fit_into_labels() -> None:
    """Kubernetes labels a job's pods, KEDA a pool's autoscaler, by the whole name: 63 characters at most."""
    name, pool = "i" * 35, "p" * 20
    options = ("--set", f"fullnameOverride={name}", "--set", f"workerPools.{pool}.baseModels={{sdxl}}")
    for profile in ("production", "laptop"):
        chart = render(profile, *options, "--set", f"workerPools.{pool}.autoscaling.kind=keda")
        for manifest in chart.manifests:
            found = manifest["metadata"]["name"]
            assert len(found) <= 63, found
        assert f"{name}-worker-{pool}" in {found["metadata"]["name"] for found in chart.of("ScaledObject")}
    assert "'/fullnameOverride'" in refusal("laptop", "--set", f"fullnameOverride={name}i")


def test_pods_are_restricted(chart: Rendered) -> None:
    """As the Pod Security Standard "restricted" asks, and a read-only root besides."""
    for name, spec in chart.pods().items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


def test_a_cluster_may_choose_users_and_groups_itself() -> None:
    values = "podSecurity.runAsUser=null,podSecurity.runAsGroup=null,podSecurity.fsGroup=1001"
    for spec in render("production", "--set", values).pods().values():
        assert spec["securityContext"].items() >= {"runAsNonRoot": True, "fsGroup": 1001}.items()
        assert not {"runAsUser", "runAsGroup"} & spec["securityContext"].keys()


def test_pods_use_volumes_of_the_restricted_kinds(chart: Rendered) -> None:
    allowed = {"configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for name, spec in chart.pods().items():
        for volume in spec.get("volumes", []):
            assert (volume.keys() - {"name"}) <= allowed, name


def test_every_pod_has_an_account_of_the_chart_without_a_token(chart: Rendered) -> None:
    accounts = {found["metadata"]["name"]: found for found in chart.of("ServiceAccount")}
    assert all(found["automountServiceAccountToken"] is False for found in accounts.values())
    for name, spec in chart.pods().items():
        if not name.startswith("StatefulSet/"):  # the evaluation servers
            assert spec["serviceAccountName"] in accounts, name


def test_secrets_are_named_and_never_made(chart: Rendered) -> None:
    assert chart.of("Secret") == []


def test_every_server_says_when_it_has_begun_is_ready_and_lives(chart: Rendered) -> None:
    for manifest in chart.of("Deployment"):
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
        assert paths == {"startup": "/startupz", "readiness": "/readyz", "liveness": "/livez"}


def test_a_mount_is_of_a_volume_and_a_volume_is_mounted(chart: Rendered) -> None:
    for name, spec in chart.pods().items():
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        mounts = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
        assert mounts - {"data"} == volumes, name  # `data` is a StatefulSet's claim
