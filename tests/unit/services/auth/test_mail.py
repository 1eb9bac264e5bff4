from __future__ import annotations

from email.message import EmailMessage

import pytest

from services.auth.mail import ConsolePost, FolderPost, SmtpPost, post_of


def test_a_setting_names_a_post():
    assert post_of("") is None
    assert isinstance(post_of("console:"), ConsolePost)
    assert isinstance(post_of("smtp://user:p%40ss@mail.example.org"), SmtpPost)
    assert isinstance(post_of("smtps://mail.example.org:4650"), SmtpPost)


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail.example.org", "smtp://", "file:"])
def test_a_setting_that_names_none_says_what_is_allowed(url):
    with pytest.raises(ValueError, match="smtp://"):
        post_of(url)


async def test_a_folder_keeps_letters_for_their_owner_alone(tmp_path):
    message = EmailMessage()
    message["To"] = "ada@example.org"
    message.set_content("hello")
    await FolderPost(tmp_path / "mail").send(message)
    [letter] = (tmp_path / "mail").iterdir()
    assert letter.stat().st_mode & 0o077 == 0
    assert b"hello" in letter.read_bytes()
