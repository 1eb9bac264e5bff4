"""Settings are read from a mapping, typed, and every problem is named at once."""

import dataclasses

import pytest
from imagineo import settings


@dataclasses.dataclass(frozen=True)
class Sample:
    listen: str
    signing_key: settings.Secret
    workers: int = 1
    ratio: float = 0.5
    slugs: tuple[str, ...] = ()


def test_a_variable_of_the_service_wins_over_the_platforms():
    environ = {
        "IMAGINEO_X_LISTEN": "a:1",
        "IMAGINEO_LISTEN": "b:2",
        "IMAGINEO_SIGNING_KEY": "k",
        "IMAGINEO_X_SLUGS": "a, b",
    }

    read = settings.read(Sample, environ, prefix="IMAGINEO_X_")

    assert (read.listen, read.signing_key.reveal(), read.slugs) == ("a:1", "k", ("a", "b"))


def test_all_problems_are_reported_together():
    with pytest.raises(settings.SettingsError) as caught:
        settings.read(Sample, {"IMAGINEO_X_WORKERS": "many", "IMAGINEO_X_LISTEN": "a:1"}, prefix="IMAGINEO_X_")

    assert "IMAGINEO_X_SIGNING_KEY is not set" in str(caught.value)
    assert "IMAGINEO_X_WORKERS" in str(caught.value)


def test_a_secret_does_not_show_itself():
    secret = settings.Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {secret:>10} {[secret]}"
    assert secret.reveal() == "hunter2"
