"""Endpoints over gRPC: what may be registered, pages, owners, secrets at rest."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import webhook_service_pb2 as service

from services.webhooks.registry import MAX_WEBHOOKS
from tests.support.receiver import says

URL = "https://hooks.example.com/"


async def test_an_account_has_so_many_and_no_more_under_concurrency(hooks):
    made = await asyncio.gather(*(hooks.create(URL) for _ in range(MAX_WEBHOOKS + 10)), return_exceptions=True)
    refused = [one for one in made if isinstance(one, errors.FailedPrecondition)]
    assert (len(made) - len(refused), len(refused)) == (MAX_WEBHOOKS, 10)
    assert refused[0].metadata == {"limit": str(MAX_WEBHOOKS)}


async def test_pages_are_in_order_and_their_tokens_are_their_owners(hooks):
    made = [(await hooks.create(URL))[0] for _ in range(5)]
    seen, token = [], ""
    while True:
        request = service.ListWebhooksRequest(organization_id=hooks.owner, page_size=2, page_token=token)
        page = await hooks(request)
        seen += [hook.webhook_id for hook in page.webhooks]
        token = page.next_page_token
        if not token:
            break
        stranger = service.ListWebhooksRequest(organization_id=new_id("org"), page_token=token)
        with pytest.raises(errors.InvalidParameter):
            await hooks(stranger)
    assert seen == made[::-1]
    for forged in ("x", "AAAA", "\0"):
        with pytest.raises(errors.InvalidParameter):
            await hooks(service.ListWebhooksRequest(organization_id=hooks.owner, page_token=forged))
        with pytest.raises(errors.InvalidParameter):
            await hooks(service.ListDeliveriesRequest(organization_id=hooks.owner, page_token=forged))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"url": "ftp://a.example/"}, "url"),
        ({"url": ""}, "url"),
        ({"description": "x" * 201}, "description"),
        ({"description": "a\0"}, "description"),
        ({"events": ["generation.started"]}, "events"),
        ({"organization_id": ""}, "organization_id"),
        ({"organization_id": "a\0"}, "organization_id"),
    ],
)
async def test_what_cannot_be_registered_names_the_field(hooks, changes, param):
    request = {"organization_id": hooks.owner, "url": URL} | changes
    with pytest.raises(errors.InvalidParameter) as refused:
        await hooks(service.CreateWebhookRequest(**request))
    assert refused.value.metadata["param"] == param


@pytest.mark.parametrize("webhook_id", ["", "hook_", "\0", new_id("hook"), new_id("gen")])
async def test_what_is_not_there_is_not_found(hooks, webhook_id):
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    for request in (
        service.GetWebhookRequest(**names),
        service.UpdateWebhookRequest(**names, active=False),
        service.DeleteWebhookRequest(**names),
        *([service.RotateSecretRequest(**names)] if webhook_id else []),
    ):
        with pytest.raises(errors.NotFound):
            await hooks(request)


async def test_a_change_touches_what_it_names(hooks):
    webhook_id, _ = await hooks.create(URL, "generation.failed", description="before")
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    before = await hooks.webhook(webhook_id)

    await hooks(service.UpdateWebhookRequest(**names, description="after"))
    after = await hooks.webhook(webhook_id)
    assert (after.description, after.url, list(after.events), after.active) == (
        "after",
        URL,
        ["generation.failed"],
        True,
    )
    assert after.updated_at.ToNanoseconds() > before.updated_at.ToNanoseconds()
    await hooks(service.UpdateWebhookRequest(**names, filter=service.EventFilter(events=["*"])))
    assert list((await hooks.webhook(webhook_id)).events) == ["*"]


async def test_switching_off_drops_what_waits(hooks, target):
    target.answers.append(says(500))
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    await hooks(service.UpdateWebhookRequest(organization_id=hooks.owner, webhook_id=webhook_id, active=False))
    [line] = await hooks.log(webhook_id)
    assert (line.last_error, line.HasField("next_attempt_at")) == ("The webhook was switched off.", False)


async def test_a_removed_webhook_takes_its_log_along(hooks, target):
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    await target.next()
    await hooks.until(lambda log: log, webhook_id)
    await hooks(service.DeleteWebhookRequest(organization_id=hooks.owner, webhook_id=webhook_id))
    assert await hooks.log() == []


async def test_secrets_lie_encrypted(hooks, database):
    _, secret = await hooks.create(URL)
    own = (await hooks(service.GetSigningSecretRequest(organization_id=hooks.owner))).secret.secret
    again = (await hooks(service.GetSigningSecretRequest(organization_id=hooks.owner))).secret.secret
    assert own == again != secret
    stored = await database.fetch(
        "SELECT secret FROM webhooks.endpoints UNION ALL SELECT secret FROM webhooks.organizations"
    )
    assert len(stored) == 2
    for row in stored:
        assert secret.encode() not in row["secret"]
        assert own.encode() not in row["secret"]


async def test_an_overlap_is_bounded(hooks):
    webhook_id, _ = await hooks.create(URL)
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    for overlap_s in (-1, 604_801):
        with pytest.raises(errors.InvalidParameter):
            await hooks(service.RotateSecretRequest(**names, overlap_s=overlap_s))
    rotated = (await hooks(service.RotateSecretRequest(**names, overlap_s=0))).secret
    assert not rotated.HasField("previous_until")


async def test_the_log_is_filtered_and_paged(hooks, target):
    run_id = new_id("gen")
    webhook_id, _ = await hooks.create(target.url)
    for _ in range(3):
        await hooks.say()
    await hooks.say(run_id=run_id)
    await hooks.until(lambda log: len(log) == 4, webhook_id)
    assert [line.subject_id for line in await hooks.log(subject_id=run_id)] == [run_id]
    first = await hooks(service.ListDeliveriesRequest(organization_id=hooks.owner, page_size=3))
    rest = await hooks(
        service.ListDeliveriesRequest(organization_id=hooks.owner, page_size=3, page_token=first.next_page_token)
    )
    ids = [line.delivery_id for line in (*first.deliveries, *rest.deliveries)]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest.next_page_token) == (4, "")
