"""Who may call whom by the rendered NetworkPolicies, and who does."""

from __future__ import annotations

from collections import defaultdict

import psutil

from tests.support.chart import Manifest, Rendered

_COMPONENT = "app.kubernetes.io/component"
#: What a port alone stands for where a policy names no peer.
_PORTS = {
    5432: "postgres",
    4222: "nats",
    443: "blobs",
    9000: "blobs",
    4317: "traces",
    4318: "traces",
    53: "names",
    587: "mail",
}


def arrows(chart: Rendered) -> dict[str, set[str]]:
    """Where each component may connect to by `egress`: components, `postgres`, `nats`, `blobs`, `internet`, …"""
    found: dict[str, set[str]] = defaultdict(set)
    for policy in chart.of("NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            found[_subject(policy)] |= _targets(rule)
    return found


def entrances(chart: Rendered) -> dict[str, set[str]]:
    """Who may connect to each component by `ingress`; `anybody` where a rule names no peer."""
    found: dict[str, set[str]] = defaultdict(set)
    for policy in chart.of("NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            if [port["port"] for port in rule["ports"]] != ["metrics"]:
                found[_subject(policy)] |= {_peer(peer) for peer in rule.get("from", [])} or {"anybody"}
    return found


def connections(process: psutil.Popen | None) -> set[int]:
    """The ports that a process has connected to; those that came to it listen here."""
    assert process is not None
    found = process.net_connections(kind="tcp")
    own = {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
    return {one.raddr.port for one in found if one.status == psutil.CONN_ESTABLISHED and one.laddr.port not in own}


def _subject(policy: Manifest) -> str:
    return str(policy["spec"]["podSelector"]["matchLabels"][_COMPONENT])


def _targets(rule: Manifest) -> set[str]:
    if any("ipBlock" in peer for peer in rule.get("to", [])):
        return {"internet"}
    named = {_peer(peer) for peer in rule.get("to", [])}
    inside = {name for name in named if name}
    return inside or {_PORTS.get(port["port"], str(port["port"])) for port in rule["ports"]}


def _peer(peer: Manifest) -> str:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    return str(labels.get(_COMPONENT, ""))
