"""Settings that cannot work are told by name before anything starts."""

import pytest
from cryptography.fernet import Fernet
from imagineo.settings import SettingsError, read

from services.webhooks.settings import PREFIX, Settings

GOOD = {
    "IMAGINEO_WEBHOOKS_POSTGRES_DSN": "postgresql://x",
    "IMAGINEO_NATS_URL": "nats://x",
    "IMAGINEO_WEBHOOKS_PUBLIC_URL": "https://images.example.org",
    "IMAGINEO_WEBHOOKS_SIGNING_KEY": "0123456789abcdef",
    "IMAGINEO_WEBHOOKS_SECRET_KEYS": Fernet.generate_key().decode(),
}


def test_good_settings_are_read_and_secrets_do_not_show():
    found = read(Settings, GOOD, prefix=PREFIX)
    assert found.allow_loopback is False
    assert found.timeout_s == 15
    assert GOOD["IMAGINEO_WEBHOOKS_SECRET_KEYS"] not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("SECRET_KEYS", "", "SECRET_KEYS"),
        ("SECRET_KEYS", "hunter2", "SECRET_KEYS"),
        ("SECRET_KEYS", GOOD["IMAGINEO_WEBHOOKS_SECRET_KEYS"] + ",", "SECRET_KEYS"),
        ("SIGNING_KEY", "short", "SIGNING_KEY"),
        ("PUBLIC_URL", "images.example.org", "PUBLIC_URL"),
        ("TIMEOUT_S", "0", "TIMEOUT_S"),
        ("ATTEMPTS_OF_ONE_OWNER", "500", "ATTEMPTS_OF_ONE_OWNER"),
        ("ALLOW_LOOPBACK", "perhaps", "ALLOW_LOOPBACK"),
        ("PORTS", "443,https", "PORTS"),
        ("PORTS", "443,0", "PORTS"),
    ],
)
def test_a_bad_one_is_named(name, value, word):
    with pytest.raises(SettingsError, match=word):
        read(Settings, GOOD | {PREFIX + name: value}, prefix=PREFIX)


def test_ports_are_any_unless_they_are_named():
    assert read(Settings, GOOD, prefix=PREFIX).reach.ports == ()
    assert read(Settings, GOOD | {PREFIX + "PORTS": "443, 8443"}, prefix=PREFIX).reach.ports == (443, 8443)
