"""Who may speak to whom is what the design says, at both ends of each arrow; and how REST comes in."""

from __future__ import annotations

import pytest

from tests.chart.conftest import rendered
from tests.support.chart import NAMESPACE, PROFILES, RELEASE, Manifest, Rendered, component, render, variables
from tests.support.network import arrows, entrances

DESIGN = {
    "gateway": {"auth", "catalog", "status", "webhooks", "nats", "blobs"},
    "auth": {"status", "postgres", "nats"},
    "catalog": {"postgres", "blobs"},
    "status": {"postgres", "nats", "blobs"},
    "webhooks": {"postgres", "nats", "internet"},
    "worker": {"catalog", "status", "nats", "blobs"},
    "job-migrations": {"postgres"},
    "job-queues": {"nats"},
    "job-models": {"postgres", "blobs"},
    "test": {"gateway", "auth"},
}


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "no-keda"])
def test_the_policies_are_the_arrows_of_the_design(profile: str) -> None:
    chart = rendered(profile)
    found = {name: targets - {"names", "traces"} for name, targets in arrows(chart).items()}
    wanted = {name: set(targets) for name, targets in DESIGN.items()}
    if profile == "production":
        wanted["job-models"] |= {"internet"}  # the hub
        wanted["auth"] |= {"mail"}
    if profile == "laptop":
        for name in wanted:
            wanted[name] -= {"blobs"}  # a folder
    assert {name: targets for name, targets in found.items() if name not in ("nats", "postgres")} == wanted


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "no-keda"])
def test_whoever_may_call_is_let_in_and_nobody_else(profile: str) -> None:
    chart = rendered(profile)
    inside = set(entrances(chart)) | {"worker"}
    callers = {
        name: {caller for caller, targets in arrows(chart).items() if name in targets} for name in inside - {"gateway"}
    }
    found = {name: peers - {"anybody"} for name, peers in entrances(chart).items() if name != "gateway"}
    assert {name: peers for name, peers in found.items() if peers} == {
        name: peers for name, peers in callers.items() if peers
    }
    assert entrances(chart)["gateway"] - {"test"} in ({"anybody"}, {""})  # clients, or the peers that values name


def test_every_pod_is_closed_but_for_its_arrows(chart: Rendered, profile: str) -> None:
    if profile == "no-keda":
        assert chart.of("NetworkPolicy") == []
        return
    closed = {component(found) for found in chart.of("NetworkPolicy")}
    workloads = [*chart.of("Deployment"), *chart.of("StatefulSet"), *chart.of("Job"), *chart.of("Pod")]
    assert {component(found) for found in workloads} <= closed
    for policy in chart.of("NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_rest_comes_in_by_an_ingress_or_by_a_route() -> None:
    ingress = rendered("production").one("Ingress", "gateway")["spec"]
    assert ingress["tls"] == [{"hosts": ["images.example.org"], "secretName": "images-example-org-tls"}]
    route = rendered("mtls-secrets").one("HTTPRoute", "gateway")["spec"]
    assert route["rules"][0]["backendRefs"] == [{"name": "imagineo-gateway", "port": 80}]
    assert rendered("production").of("HTTPRoute") == rendered("mtls-secrets").of("Ingress") == []


def test_a_route_sets_no_limit_of_time_and_leaves_the_field_out_where_a_controller_refuses_it() -> None:
    (rule,) = rendered("mtls-secrets").one("HTTPRoute", "gateway")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    (silent,) = render("mtls-secrets", "--set", "gatewayApi.requestTimeout=").one("HTTPRoute", "gateway")["spec"][
        "rules"
    ]
    assert "timeouts" not in silent


def egress(chart: Rendered, name: str) -> list[Manifest]:
    rules: list[Manifest] = chart.one("NetworkPolicy", name)["spec"]["egress"]
    return rules


def test_pods_with_an_identity_may_ask_the_cloud_for_it() -> None:
    chart = render("no-keda", "--set", "networkPolicy.enabled=true")
    asked = [
        (rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"])
        for rule in egress(chart, "catalog")
        if "to" in rule
    ]
    assert asked == [("169.254.169.254/32", 80), ("169.254.170.23/32", 80), ("169.254.169.252/32", 988)]
    assert not [rule for rule in egress(rendered("production"), "catalog") if "ipBlock" in str(rule)]


def test_webhooks_reach_the_ports_that_values_name_and_no_address_that_they_except() -> None:
    values = "networkPolicy.webhookPorts={443,8443},networkPolicy.webhooksExcept={203.0.113.0/24,2001:db8::/32}"
    chart = render("production", "--set", values)
    (rule,) = [rule for rule in egress(chart, "webhooks") if "ipBlock" in str(rule)]
    assert [port["port"] for port in rule["ports"]] == [443, 8443]
    four, six = (peer["ipBlock"]["except"] for peer in rule["to"])
    assert "203.0.113.0/24" in four
    assert "2001:db8::/32" in six
    assert [cidr for cidr in four if ":" in cidr] == [cidr for cidr in six if ":" not in cidr] == []
    (hub,) = [rule for rule in egress(chart, "job-models") if "ipBlock" in str(rule)]
    assert [port["port"] for port in hub["ports"]] == [443]


@pytest.mark.parametrize(
    ("ports", "let_out"),
    [
        ("{443,8443}", [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 8443}]),
        ("null", [{"protocol": "TCP", "port": 1, "endPort": 65_535}]),
    ],
)
def test_webhook_urls_may_have_the_ports_that_the_policy_lets_out_and_no_other(
    ports: str, let_out: list[dict[str, object]]
) -> None:
    chart = render("production", "--set", f"networkPolicy.webhookPorts={ports}")
    (rule,) = [rule for rule in egress(chart, "webhooks") if "ipBlock" in str(rule)]
    assert rule["ports"] == let_out
    for name in ("webhooks", "gateway"):
        told = variables(chart.one("Deployment", name)).get("IMAGINEO_WEBHOOKS_PORTS")
        assert told == ("443,8443" if ports != "null" else None), name
    closed_to_none = render("no-keda").one("Deployment", "webhooks")
    assert "IMAGINEO_WEBHOOKS_PORTS" not in variables(closed_to_none)


def test_without_policies_the_services_settings_say_the_ports_of_webhook_urls() -> None:
    chart = render("no-keda", "--set", "webhooks.settings.PORTS=8443,gateway.settings.WEBHOOKS_PORTS=8443")
    for name, variable in (("webhooks", "IMAGINEO_WEBHOOKS_PORTS"), ("gateway", "IMAGINEO_GATEWAY_WEBHOOKS_PORTS")):
        assert variables(chart.one("Deployment", name))[variable] == "8443", name


def test_names_and_traces_may_be_narrowed() -> None:
    peer = "[0].namespaceSelector.matchLabels.a=b"
    chart = render("production", "--set", f"networkPolicy.namesTo{peer},tracing.peers{peer}")
    for policy in chart.of("NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            if {port["port"] for port in rule["ports"]} & {53, 4318}:
                assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"a": "b"}}}], policy["metadata"]["name"]


def test_certificates_may_call_whom_their_bearers_may_reach() -> None:
    chart = rendered("production")
    for name in ("auth", "catalog", "status", "webhooks"):
        callers = str(variables(chart.one("Deployment", name))["IMAGINEO_TLS_CALLERS"]).split(",")
        wanted = {f"{RELEASE}-{caller}.{NAMESPACE}.svc" for caller in entrances(chart)[name]}
        assert set(callers) == wanted
        borne = {host for found in chart.of("Certificate") for host in found["spec"]["dnsNames"]}
        assert set(callers) <= borne
    further = render("production", "--set", "mtls.furtherCallers={reports.example.org}").one("Deployment", "auth")
    assert str(variables(further)["IMAGINEO_TLS_CALLERS"]).endswith(",reports.example.org")
    assert "IMAGINEO_TLS_CALLERS" not in variables(rendered("mtls-secrets").one("Deployment", "auth"))


def test_base_models_may_come_through_a_proxy_of_ones_own() -> None:
    peer = "models.peers[0].ipBlock.cidr=10.7.0.0/16,models.port=3128"
    chart = render("production", "--set", f"{peer},models.env.HTTPS_PROXY=http://proxy:3128")
    (rule,) = [rule for rule in egress(chart, "job-models") if "ipBlock" in str(rule)]
    assert rule == {"ports": [{"protocol": "TCP", "port": 3128}], "to": [{"ipBlock": {"cidr": "10.7.0.0/16"}}]}
    (job,) = [found for found in chart.of("Job") if component(found) == "job-models"]
    assert variables(job)["HTTPS_PROXY"] == "http://proxy:3128"
