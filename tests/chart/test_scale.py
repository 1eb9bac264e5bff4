"""How pools and services grow, shrink and end."""

from __future__ import annotations

import dataclasses

import pytest
from imagineo.broker import subjects
from imagineo.v1 import job_pb2

from services.worker.drain import HAND_BACK_S
from tests.bench.fleet.autoscaler import Autoscaler
from tests.chart.conftest import rendered
from tests.support.chart import PROFILES, Rendered, component, pod, render, variables


def test_a_worker_has_its_longest_run_and_the_hand_back_within_its_grace() -> None:
    for manifest in rendered("gpu-pools").of("Deployment"):
        if component(manifest) == "worker":
            drain_s = float(variables(manifest)["IMAGINEO_WORKER_DRAIN_S"])
            assert pod(manifest)["terminationGracePeriodSeconds"] >= drain_s + HAND_BACK_S + 1
    graces = {
        manifest["metadata"]["labels"]["imagineo/pool"]: pod(manifest)["terminationGracePeriodSeconds"]
        for manifest in rendered("gpu-pools").of("Deployment")
        if component(manifest) == "worker"
    }
    assert graces == {"sd15": 135, "flux": 315, "spot": 35}


def test_the_gateway_has_its_delay_and_its_requests_within_its_grace() -> None:
    manifest = rendered("production").one("Deployment", "gateway")
    given = variables(manifest)
    delay_s, drain_s = float(given["IMAGINEO_GATEWAY_DRAIN_DELAY_S"]), float(given["IMAGINEO_GATEWAY_DRAIN_S"])
    assert delay_s >= 5
    assert pod(manifest)["terminationGracePeriodSeconds"] >= delay_s + drain_s + 5


@pytest.mark.parametrize("notice_s", [5, 20])
def test_services_answer_on_while_their_callers_learn_of_their_end(notice_s: int) -> None:
    chart = render("production", "--set", f"noticeSeconds={notice_s}")
    for name in ("auth", "catalog", "status", "webhooks"):
        manifest = chart.one("Deployment", name)
        (container,) = pod(manifest)["containers"]
        assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": notice_s}}
        assert pod(manifest)["terminationGracePeriodSeconds"] >= notice_s + 10
        # The cluster's DNS may keep an answer for 30 s.
        assert manifest["spec"]["minReadySeconds"] >= 30
    gateway = chart.one("Deployment", "gateway")
    assert variables(gateway)["IMAGINEO_GATEWAY_DRAIN_DELAY_S"] == str(notice_s)
    assert pod(gateway)["terminationGracePeriodSeconds"] >= notice_s + 20 + 5


def test_an_upload_has_its_drain_within_the_catalogs_grace() -> None:
    manifest = render("production", "--set", "catalog.drainSeconds=300").one("Deployment", "catalog")
    assert variables(manifest)["IMAGINEO_CATALOG_DRAIN_S"] == "300"
    assert pod(manifest)["terminationGracePeriodSeconds"] >= 5 + 300 + 5


def test_priority_classes_that_profiles_name_are_made(profile: str, chart: Rendered) -> None:
    named = {spec["priorityClassName"] for spec in chart.pods().values() if "priorityClassName" in spec}
    assert named == {found["metadata"]["name"] for found in chart.of("PriorityClass")}, profile


def test_lora_files_make_room_before_their_disk_is_full() -> None:
    for profile, gibibytes in (("laptop", 5), ("gpu-pools", 100)):
        for manifest in rendered(profile).of("Deployment"):
            if component(manifest) == "worker":
                limit = int(variables(manifest)["IMAGINEO_WORKER_ADAPTER_CACHE_BYTES"] or 0)
                assert limit == gibibytes * 2**30 // 4


def test_a_pool_is_scaled_by_the_sum_of_all_queues_that_its_workers_pull_from() -> None:
    manifest = rendered("gpu-pools").one("ScaledObject", "worker-flux")
    lanes = (job_pb2.LANE_PREMIUM, job_pb2.LANE_BASIC, job_pb2.LANE_FREE)
    queues = {subjects.queue(slug, lane) for slug in ("flux-dev", "sd-3-5") for lane in lanes}
    triggers = manifest["spec"]["triggers"]
    assert {trigger["metadata"]["consumer"] for trigger in triggers} == queues
    assert {trigger["metadata"]["stream"] for trigger in triggers} == {"JOBS"}
    modifiers = manifest["spec"]["advanced"]["scalingModifiers"]
    assert sorted(modifiers["formula"].split(" + ")) == sorted(trigger["name"] for trigger in triggers)
    assert modifiers["target"] == "4"
    assert (manifest["spec"]["minReplicaCount"], manifest["spec"]["maxReplicaCount"]) == (0, 8)


def test_a_pool_of_a_thousand_shrinks_to_what_it_needs_within_an_hour() -> None:
    manifest = rendered("gpu-pools").one("ScaledObject", "worker-flux")
    scaler = dataclasses.replace(Autoscaler.of(manifest), maximum=1_000)
    pods, at_s = 1_000, 0.0
    while at_s < scaler.stabilization_s + 3_600:
        at_s += Autoscaler.SYNC_S
        pods = scaler.wanted(40, pods, at_s)
    assert pods == 10


def test_the_queues_job_makes_every_queue_that_keda_watches() -> None:
    chart = rendered("gpu-pools")
    (job,) = [found for found in chart.of("Job") if component(found) == "job-queues"]
    (container,) = pod(job)["containers"]
    assert sorted(container["command"][4:]) == ["flux-dev", "sd-1-5", "sd-3-5"]


def test_autoscaled_deployments_name_no_replicas() -> None:
    for profile in PROFILES:
        chart = rendered(profile)
        targets = {
            found["spec"]["scaleTargetRef"]["name"]
            for found in [*chart.of("HorizontalPodAutoscaler"), *chart.of("ScaledObject")]
        }
        for manifest in chart.of("Deployment"):
            assert ("replicas" in manifest["spec"]) != (manifest["metadata"]["name"] in targets), profile


def test_without_keda_pools_have_an_autoscaler_or_a_size() -> None:
    chart = rendered("no-keda")
    assert chart.of("ScaledObject") == []
    assert chart.one("HorizontalPodAutoscaler", "worker-cpu")["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert chart.one("HorizontalPodAutoscaler", "worker-gpu")["spec"]["metrics"][0]["type"] == "Pods"
    assert chart.one("Deployment", "worker-fixed")["spec"]["replicas"] == 3


def test_every_deployment_may_lose_one_pod_at_a_time(chart: Rendered) -> None:
    budgets = {found["metadata"]["name"]: found["spec"]["maxUnavailable"] for found in chart.of("PodDisruptionBudget")}
    assert budgets == {found["metadata"]["name"]: 1 for found in chart.of("Deployment")}


def test_pods_are_spread_over_zones_and_nodes(chart: Rendered) -> None:
    for manifest in chart.of("Deployment"):
        keys = [spread["topologyKey"] for spread in pod(manifest)["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_a_gpu_pool_asks_for_its_gpu_and_a_cpu_pool_for_none() -> None:
    (gpu,) = pod(rendered("gpu-pools").one("Deployment", "worker-sd15"))["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == "1"
    assert variables(rendered("gpu-pools").one("Deployment", "worker-sd15"))["IMAGINEO_WORKER_DEVICE"] == "cuda"
    (cpu,) = pod(rendered("laptop").one("Deployment", "worker-default"))["containers"]
    assert cpu["resources"]["limits"].keys() == {"memory"}
    assert variables(rendered("laptop").one("Deployment", "worker-default"))["IMAGINEO_WORKER_DEVICE"] == "cpu"
