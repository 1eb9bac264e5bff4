from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deploy.local.place import AlreadyRunningError, Place


def test_secrets_are_made_once_and_are_their_owners_only(tmp_path: Path) -> None:
    place = Place(tmp_path)

    first, again = place.secrets(), place.secrets()

    assert first == again
    assert len({first.postgres_password, first.nats_token, first.signing_key}) == 3
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_folder_belongs_to_one_platform_at_a_time(tmp_path: Path) -> None:
    with Place(tmp_path).claimed(), pytest.raises(AlreadyRunningError, match="Choose another --data"):
        Place(tmp_path).claimed().__enter__()

    with Place(tmp_path).claimed():
        pass
