"""Which events there are, which an endpoint gets, and what is posted."""

import json
from datetime import UTC, datetime

import pytest
from imagineo.errors import InvalidParameter
from imagineo.ids import new_id
from imagineo.settings import Secret
from imagineo.v1 import event_pb2, generation_pb2, webhook_pb2
from imagineo.wire import shown
from imagineo.wire.image_urls import UrlSigner
from imagineo.wire.shown_webhook import EVENT_TYPES

from services.webhooks.events import ALL, WEBHOOK_DISABLED, checked, type_of, wants
from services.webhooks.intake import read
from services.webhooks.payloads import Presenter

NOW = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)


def test_every_end_of_a_run_is_an_event_and_nothing_else():
    found = {status: type_of(status) for status in generation_pb2.Status.values() if type_of(status)}
    assert set(found.values()) == set(EVENT_TYPES) - {WEBHOOK_DISABLED}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ([], [ALL]),
        (["*"], ["*"]),
        (["generation.failed", "*"], ["*"]),
        (
            ["generation.failed", "generation.completed", "generation.failed"],
            ["generation.completed", "generation.failed"],
        ),
    ],
)
def test_a_filter_is_kept_once_each(wanted, kept):
    assert checked(wanted) == kept


@pytest.mark.parametrize("wanted", [["generation.started"], [""], ["*", "x"], ["GENERATION.COMPLETED"]])
def test_an_event_that_there_is_not_is_refused(wanted):
    with pytest.raises(InvalidParameter) as refused:
        checked(wanted)
    assert refused.value.metadata["param"] == "events"


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_filter_lets_through_what_it_names(event_type):
    assert wants(["*"], event_type)
    assert wants([event_type], event_type)
    assert not wants([other for other in EVENT_TYPES if other != event_type], event_type)


def completed() -> generation_pb2.Generation:
    run = generation_pb2.Generation(
        run_id=new_id("gen"),
        organization_id="org_1",
        status=generation_pb2.STATUS_COMPLETED,
        webhook_url="https://hooks.example.com/?token=secret",
        parameters=generation_pb2.Parameters(
            positive_prompt="caf\u00e9", output_format=generation_pb2.OUTPUT_FORMAT_WEBP
        ),
        image=generation_pb2.Image(output_format=generation_pb2.OUTPUT_FORMAT_WEBP, width=8, height=8),
    )
    run.created_at.FromDatetime(NOW)
    return run


def test_the_body_is_the_object_that_rest_shows():
    signer, run = UrlSigner(Secret("0123456789abcdef"), 600), completed()
    body = Presenter("https://images.example.org/", signer).body(
        "generation.completed", NOW, run.SerializeToString(), NOW
    )
    content = json.loads(body)
    assert list(content) == ["type", "timestamp", "data"]
    assert (content["type"], content["timestamp"]) == ("generation.completed", "2026-01-01T12:00:00.500Z")
    assert content["data"] == shown.generation(run, "https://images.example.org", signer, NOW.timestamp())
    assert b"token=secret" not in body


def test_the_body_about_an_endpoint_is_the_endpoint():
    hook = webhook_pb2.Webhook(webhook_id="hook_1", url="https://a.example/", events=["*"])
    hook.disabled_reason = webhook_pb2.DISABLED_REASON_GONE
    signer = UrlSigner(Secret("0123456789abcdef"), 600)
    content = json.loads(Presenter("https://a", signer).body(WEBHOOK_DISABLED, NOW, hook.SerializeToString(), NOW))
    assert (content["data"]["id"], content["data"]["disabled_reason"]) == ("hook_1", "gone")


def event(**changes) -> bytes:
    message = {"event_id": new_id("evt"), "generation": completed()} | changes
    found = event_pb2.GenerationChanged(**message)
    found.occurred_at.FromDatetime(NOW)
    return found.SerializeToString()


def test_an_event_is_read():
    assert read(event()).generation.status == generation_pb2.STATUS_COMPLETED


def test_a_run_that_goes_on_is_nobodys_matter():
    assert read(event(generation=generation_pb2.Generation(status=generation_pb2.STATUS_RUNNING))) is None
    assert read(b"") is None


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff",
        event(event_id=""),
        event(event_id="a\0"),
        event(generation=generation_pb2.Generation(status=generation_pb2.STATUS_FAILED)),
    ],
)
def test_what_could_hold_up_its_batch_for_ever_is_dropped(body):
    with pytest.raises(ValueError, match=r"event|GenerationChanged"):
        read(body)
