"""Channels to the other services. Create them inside the event loop that uses them, after any fork."""

from __future__ import annotations

import json

import grpc

from imagineo.rpc.renewing_channel import RenewingChannel
from imagineo.rpc.server import ACCEPTING, MAX_MESSAGE_BYTES
from imagineo.rpc.tls import Pems, TlsIdentity, channel_credentials

_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ACCEPTING}}
)
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A black-holed connection is noticed within 30 s even while no call runs; each call has its own deadline besides.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A peer that restarted is found again at once: it is back within a second as a rule.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not a pause, for all its name: how long the handshakes of one connection may take, at busy peers too.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # How often a name may be looked up where replicas go and come; the default, 30 s, is longer than a rollout's step.
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # Connections of its own: of two channels to one address the second would inherit the first one's pause after a peer
    # that is gone, and refuse calls to one that has just begun to serve there.
    ("grpc.use_local_subchannel_pool", 1),
    # Calls go round the replicas that take calls; one that drains says so, and gets no more.
    ("grpc.service_config", _SERVICE_CONFIG),
    # No call is tried again, but for one that certainly reached nobody: it met a connection that was just ending.
    ("grpc.enable_retries", 1),
]


def connect(target: str, tls: TlsIdentity | None = None) -> grpc.aio.Channel:
    """Open a channel to `host:port` or `dns:///name:port`; it connects lazily and reconnects forever.

    With an identity both sides show certificates: the server's must name the host of `target`.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)

    def open_with(pems: Pems) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, channel_credentials(pems), options=_OPTIONS)

    return RenewingChannel(tls, open_with)
