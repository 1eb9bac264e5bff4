from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from deploy.local.place import AlreadyRunningError, FolderError, Place


def test_secrets_are_made_once_and_are_their_owners_only(tmp_path: Path) -> None:
    place = Place(tmp_path)

    first, again = place.secrets(), place.secrets()

    assert first == again
    assert len({first.postgres_password, first.nats_token, first.signing_key, first.webhooks_key}) == 4
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_an_older_folder_keeps_its_secrets_and_gets_those_that_are_new(tmp_path: Path) -> None:
    older = {"postgres_password": "p", "nats_token": "n", "signing_key": "s"}
    (tmp_path / "secrets.json").write_text(json.dumps(older))

    found = Place(tmp_path).secrets()

    assert (found.postgres_password, found.nats_token, found.signing_key) == ("p", "n", "s")
    assert found.webhooks_key == Place(tmp_path).secrets().webhooks_key


def test_a_folder_belongs_to_one_platform_at_a_time(tmp_path: Path) -> None:
    with Place(tmp_path).claimed(), pytest.raises(AlreadyRunningError, match="Choose another --data"):
        Place(tmp_path).claimed().__enter__()

    with Place(tmp_path).claimed():
        pass


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    taken = tmp_path / "a file"
    taken.touch()

    with pytest.raises(FolderError, match=r"a file.* cannot be used: .*Choose another --data"), Place(taken).claimed():
        pass
