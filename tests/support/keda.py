"""What KEDA makes of a ScaledObject's nats-jetstream triggers: its own query against NATS's monitoring endpoint.

Source: kedacore/keda, pkg/scalers/nats_jetstream_scaler.go: GET /jsz?acc=…&consumers=true&config=true; a trigger counts
num_pending + num_ack_pending of its consumer, and the stream's last sequence where there is no such consumer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.chart import Manifest


@dataclass(frozen=True)
class Scaled:
    """What the triggers say together."""

    lag: int
    is_active: bool
    pods: int
    """How many pods it would have, within min and max."""
    missing: list[str]
    """Consumers that are not there."""


def scaled(manifest: Manifest, monitoring: str) -> Scaled:
    """Ask as KEDA does, and add up by the formula."""
    values: dict[str, int] = {}
    missing: list[str] = []
    for trigger in manifest["spec"]["triggers"]:
        assert trigger["type"] == "nats-jetstream"
        metadata = trigger["metadata"]
        stream = _stream(monitoring, metadata)
        consumers = {found["name"]: found for found in stream.get("consumer_detail") or []}
        consumer = consumers.get(metadata["consumer"])
        if consumer is None:
            missing.append(metadata["consumer"])
            values[trigger["name"]] = stream["state"]["last_seq"]
        else:
            values[trigger["name"]] = consumer["num_pending"] + consumer["num_ack_pending"]
    modifiers = manifest["spec"]["advanced"]["scalingModifiers"]
    lag = _sum(modifiers["formula"], values)
    wanted = math.ceil(lag / int(modifiers["target"]))
    pods = min(max(wanted, manifest["spec"]["minReplicaCount"]), manifest["spec"]["maxReplicaCount"])
    return Scaled(lag=lag, is_active=lag > int(modifiers["activationTarget"]), pods=pods, missing=missing)


def _stream(monitoring: str, metadata: dict[str, str]) -> dict[str, Any]:
    query = {"acc": metadata["account"], "consumers": "true", "config": "true"}
    answer = httpx.get(f"{monitoring}/jsz", params=query, trust_env=False).json()
    (account,) = [found for found in answer["account_details"] if found["name"] == metadata["account"]]
    (stream,) = [found for found in account["stream_detail"] if found["name"] == metadata["stream"]]
    return dict(stream)


def _sum(formula: str, values: dict[str, int]) -> int:
    """The formulas of the chart are sums of triggers; each trigger stands in it once."""
    names = formula.split(" + ")
    assert all(re.fullmatch(r"[a-z]\w*", name) for name in names), formula
    assert sorted(names) == sorted(values), formula
    return sum(values[name] for name in names)
