from __future__ import annotations

import pytest
from imagineo import errors

from services.auth.people import Client, Role, check_email, check_may_assign, check_name, check_owner_stays, email_key


def test_addresses_that_differ_in_case_or_spelling_are_one():
    assert email_key("Ada@Example.ORG") == email_key("ada@example.org")
    assert email_key("stra\u00dfe@example.org") == email_key("STRASSE@example.org")
    assert email_key("caf\u00e9@example.org") == email_key("cafe\u0301@example.org")


@pytest.mark.parametrize(
    "text",
    [
        *("", "ada", "ada@", "@b.c", "a b@c.d", "a@b@c", "a,b@c.d", "<a@b.c>", "a@b\n.c", "a" * 250 + "@b.cd"),
        *("=?utf-8?q?a=0AX?=@b.c", "a@=?utf-8?q?b?=", "a\x7fb@c.d", "a\u2028b@c.d", "a..b@c.d", "a@b..c"),
        "caf\u00e9@b.c",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(errors.InvalidParameter) as refusal:
        check_email(text)
    assert refusal.value.metadata["param"] == "email"


def test_names_and_addresses_lose_the_blanks_around_them():
    assert check_email("  ada@example.org ") == "ada@example.org"
    assert check_name("name", " <script>Ada</script> ") == "<script>Ada</script>"


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b", "a\u202eb", "a\nb", "a\u2028b", "a\u2029b", "a\x85b"])
def test_names_that_could_mislead_are_refused(name):
    with pytest.raises(errors.InvalidParameter):
        check_name("name", name)


def test_what_a_client_says_of_itself_is_bounded():
    client = Client.of("1" * 500, "x\x00\n" * 500)
    assert (len(client.address), client.user_agent) == (64, "x" * 200)


@pytest.mark.parametrize("actor", list(Role))
@pytest.mark.parametrize("before", [None, *Role])
@pytest.mark.parametrize("after", [None, *Role])
def test_owners_change_all_admins_all_but_owners_others_nobody(actor, before, after):
    allowed = actor is Role.OWNER or (actor is Role.ADMIN and Role.OWNER not in (before, after))
    if allowed:
        check_may_assign(actor, before=before, after=after)
    else:
        with pytest.raises(errors.PermissionDenied):
            check_may_assign(actor, before=before, after=after)
    check_may_assign(None, before=before, after=after)  # an operator


def test_the_last_owner_stays():
    check_owner_stays(Role.OWNER, Role.OWNER, 1)
    check_owner_stays(Role.OWNER, None, 2)
    check_owner_stays(Role.ADMIN, None, 1)
    for after in (None, Role.ADMIN):
        with pytest.raises(errors.FailedPrecondition):
            check_owner_stays(Role.OWNER, after, 1)
