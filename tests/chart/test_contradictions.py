"""Values that go through the schema and could not work together: refused in a sentence, or told by the notes."""

from __future__ import annotations

import pytest

from tests.support.chart import notes, refusal, render


@pytest.mark.parametrize(
    ("profile", "values", "said"),
    [
        ("production", "nats.servers=nats.a.example.org:4333,nats.peers=null", "Set nats.port to 4333."),
        ("no-keda", "networkPolicy.enabled=true,nats.servers=10.0.0.7:4333", "Set nats.port to 4333."),
        ("production", "blobs.url=s3://b?endpoint=https://s3.a.example.org:9000", "Set blobs.port to 9000."),
        ("production", "blobs.url=s3://b?region=x&endpoint=http%3A%2F%2Fs3.a.example.org", "Set blobs.port to 80."),
        ("production", "tracing.endpoint=https://traces.a.example.org/v1/traces", "Set tracing.port to 443."),
        ("laptop", "nats.replicas=3", "nats.replicas is 3, and the evaluation NATS is one server"),
        ("production", "gateway.autoscaling.min=20", "gateway.autoscaling.max (10) is less than min (20). Raise it."),
        ("production", "mtls.certManager.renewBefore=2160h", "renewBefore (2160h) is not less than duration (2160h)"),
        ("production", "mtls.certManager.duration=30m,mtls.certManager.renewBefore=1800s", "(30m): certificates would"),
        ("production", "mtls.certManager.issuerRef.kind=clusterissuer", "Set it to Issuer or ClusterIssuer."),
        ("production", "auth.settings.NO_SUCH=1", "auth.settings.NO_SUCH is no setting. There are: LISTEN, LOG_LEVEL,"),
        ("laptop", "workerPools.default.settings.NO_SUCH=1", "workerPools.default.settings.NO_SUCH is no setting."),
        ("production", "models.base[1].source=a/b,models.base[1].slug=sdxl", "has the slug sdxl twice"),
        ("laptop", "models.base[0].source=a/b,models.base[0].slug=starter", "has the slug starter twice"),
        ("production", r"workerPools.sdxl.resources.limits.nvidia\.com/gpu=2", "names nvidia.com/gpu, which gpu."),
        ("production", r"workerDefaults.resources.requests.nvidia\.com/gpu=2", "names nvidia.com/gpu, which gpu."),
        ("production", "postgres.existingSecret=null", "postgres.existingSecret is null"),
        ("laptop", "postgres.caSecret=ca", "postgres.caSecret is set, and postgres.evaluation speaks no TLS."),
        ("laptop", "blobs.caSecret=ca", "blobs.caSecret is set, and blobs.evaluation speaks no TLS."),
        ("laptop", "models.env.HF_TOKEN=x", "models.env.HF_TOKEN is the chart's own."),
        ("laptop", "secrets.signing=null", "secrets.signing is null"),
    ],
)
def test_what_cannot_work_is_refused_with_the_fix(profile: str, values: str, said: str) -> None:
    assert said in refusal(profile, "--set", values)


@pytest.mark.parametrize(
    ("profile", "values", "said"),
    [
        ("production", "nats.replicas=0", "nats.replicas is 0: new streams lie on so many servers"),
        ("production", "nats.servers=nats.nats.svc:4333", "nats.servers says port 4333"),
        ("gpu-pools", "nats.servers=nats.nats:4333", "else set nats.port to 4333"),
        ("gpu-pools", "blobs.port=443", "blobs.url says port 9000"),
        ("production", "tracing.port=4317", "tracing.endpoint says port 4318"),
        ("production", "ingress.host=api.example.org", "ingress.host is api.example.org, and publicUrl says images."),
        ("production", "ingress.tlsSecret=", "publicUrl says https, and ingress.tlsSecret is empty"),
        ("mtls-secrets", "gatewayApi.hostnames={api.example.org}", "gatewayApi.hostnames are api.example.org"),
        ("production", "workerPools.sdxl.baseModels={sdxl,flux}", "workerPools.sdxl.baseModels names flux"),
    ],
)
def test_what_seldom_works_is_told_by_the_notes(profile: str, values: str, said: str) -> None:
    (line,) = [found for found in notes(profile, "--set", values).splitlines() if said in found]
    assert line.startswith("WARNING: ")


@pytest.mark.parametrize("profile", ["laptop", "production"])
def test_profiles_to_copy_are_warned_of_nothing(profile: str) -> None:
    assert "WARNING" not in notes(profile)


def test_a_wildcard_and_ports_that_policies_do_not_guard_are_no_contradiction() -> None:
    assert "gatewayApi.hostnames" not in notes("mtls-secrets", "--set", "gatewayApi.hostnames={*.example.org}")
    assert render("no-keda", "--set", "nats.servers=nats.a.example.org:4333")


def test_no_pools_at_all_are_the_default_one() -> None:
    (pool,) = [found for found in render("laptop", "--set", "workerPools=null").pods() if "worker" in found]
    assert pool == "Deployment/imagineo-worker-default"
