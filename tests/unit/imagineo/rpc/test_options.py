"""gRPC ignores an option that it does not know: a wrong name is a setting that was never made."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc._cython import cygrpc
from imagineo.rpc import channel, server


@pytest.mark.parametrize("name", sorted({name for name, _ in (*channel._OPTIONS, *server._OPTIONS)}))
def test_every_option_is_one_that_grpc_knows(name: str) -> None:
    assert name.encode() + b"\x00" in Path(cygrpc.__file__).read_bytes()


def test_a_server_allows_the_pings_of_its_clients() -> None:
    allowed_ms = dict(server._OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]

    assert allowed_ms < dict(channel._OPTIONS)["grpc.keepalive_time_ms"]
