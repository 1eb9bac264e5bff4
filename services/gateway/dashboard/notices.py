"""What a page says after something was done; the address names the sentence, so nobody can put words into it."""

from __future__ import annotations

from typing import Final

NOTICES: Final = {
    "key-revoked": "The key is revoked. It is refused everywhere within two seconds.",
    "run-canceled": "The generation will stop at its next step.",
    "run-deleted": "The generation and its picture are deleted.",
    "model-changed": "Saved.",
    "model-created": "The LoRA is checked and ready. Its sample picture is being drawn.",
    "model-deleted": "The LoRA is deleted.",
    "batch-canceled": "The batch stops: what waits at once, what is being drawn at its next step.",
    "webhook-deleted": "The webhook and its log are deleted.",
    "webhook-changed": "Saved.",
    "redelivered": "The delivery is on its way again.",
    "role-changed": "The role is changed; it applies within two seconds, and keys that it could not make are revoked.",
    "member-removed": "The member is removed and logged out. Keys that they made are revoked, as the audit log tells.",
    "invitation-revoked": "The invitation is revoked. Its link opens nothing any more.",
    "organization-changed": "Saved.",
    "plan-changed": "The plan is changed.",
    "session-revoked": "That session is logged out.",
    "password-changed": "Your password is changed. All other sessions are logged out.",
    "password-reset": "Your password is set. Log in with it.",
    "email-verified": "Your mail address is confirmed.",
    "verification-sent": "A link is on its way to your mail address. It works once, for two days.",
    "logged-out": "You are logged out.",
    "log-in-first": "Log in to go on.",
    "joined": "Welcome. You are a member now.",
    "welcome": "Welcome. Describe a picture and draw it.",
}
