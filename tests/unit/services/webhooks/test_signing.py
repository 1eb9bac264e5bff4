"""Secrets and signatures, verified by the specification's own library and by its example."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet
from imagineo.errors import Internal
from imagineo.settings import Secret
from standardwebhooks import Webhook, WebhookVerificationError

from services.webhooks.signing import headers, new_secret
from services.webhooks.vault import Vault

BODY = b'{"type":"generation.completed","data":{"prompt":"caf\xc3\xa9"}}'


def test_the_specifications_example_comes_out_as_it_says():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert found["webhook-timestamp"] == "1614265330"


def test_each_of_two_secrets_verifies_and_a_third_does_not():
    new, old = new_secret(), new_secret()
    found = headers([new, old], "evt_1", datetime.now(UTC), BODY)
    assert found["webhook-signature"].count("v1,") == 2
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, found)["data"] == {"prompt": "caf\u00e9"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, found)


@pytest.mark.parametrize("change", [{"webhook-id": "evt_2"}, {"webhook-timestamp": "1614265330"}])
def test_what_was_tampered_with_does_not_verify(change):
    secret = new_secret()
    found = headers([secret], "evt_1", datetime.now(UTC), BODY)
    for tampered, body in ((found | change, BODY), (found, BODY + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, tampered)


def test_a_secret_has_the_length_that_the_specification_asks_for():
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert secret != new_secret()


def test_secrets_at_rest_are_read_by_any_key_and_written_by_the_first():
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    locked = Vault(Secret(old)).lock("whsec_x")
    assert b"whsec" not in locked
    both = Vault(Secret(f"{new}, {old}"))
    assert both.unlock(locked) == "whsec_x"
    assert Vault(Secret(new)).unlock(both.lock("whsec_y")) == "whsec_y"
    with pytest.raises(Internal, match="no key"):
        Vault(Secret(new)).unlock(locked)
