"""The document's examples: each command, copied into a shell as it stands, works on the platform."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from imagineo.permissions import ROLES

from tests.support.deadlines import SURELY_S
from tests.support.pictures import encoded, scene
from tests.support.platform import REPOSITORY, Platform, eventually
from tests.support.rest import Account
from tests.support.tenants import new_user

LORA = next((REPOSITORY / "libs" / "starter" / "weights" / "loras").glob("*.safetensors"))


def own_model(account: Account) -> str:
    data = {"name": "Mine", "base_model_id": account.base_model()}
    return str(account.http.post("/v1/models", data=data, files={"file": LORA.read_bytes()}).json()["id"])


def test_every_command_of_the_document_works(platform: Platform, account: Account, tmp_path: Path) -> None:
    webhooks = [account.post("/v1/webhooks", {"url": "http://127.0.0.1:9/"}).json()["id"] for _ in range(2)]
    drawn = account.draw()
    log = f"/v1/webhooks/{webhooks[0]}/deliveries"
    [delivery] = eventually(lambda: account.get(log).json()["deliveries"], within_s=SURELY_S, what="the log has a line")
    photo = tmp_path / "photo.jpeg"
    photo.write_bytes(encoded(scene(), "JPEG"))
    places = {
        "IMAGINEO_URL": account.url,
        "IMAGINEO_API_KEY": account.key,
        "MODEL_ID": account.lora(),
        "OWN_MODEL_ID": own_model(account),
        "BASE_MODEL_ID": account.base_model(),
        "LORA_FILE": str(LORA),
        "RUN_ID": drawn["run_id"],
        "UNWANTED_RUN_ID": account.draw()["run_id"],
        "UPLOAD_ID": upload(account),
        "UNWANTED_UPLOAD_ID": upload(account),
        "PICTURE": str(photo),
        "BATCH_ID": batch(account),
        "UNWANTED_BATCH_ID": batch(account),
        "KEY_ID": account.post("/v1/keys", {"name": "old"}).json()["id"],
        "IMAGE_URL": drawn["image_url"],
        "WEBHOOK_ID": webhooks[0],
        "UNWANTED_WEBHOOK_ID": webhooks[1],
        "DELIVERY_ID": delivery["id"],
        "USER_ID": new_user(platform.ready, account.organization_id, "one@docs.example.org", ROLES["viewer"]),
        "UNWANTED_USER_ID": new_user(platform.ready, account.organization_id, "two@docs.example.org", ROLES["viewer"]),
        "INVITATION_ID": account.post(
            "/v1/organization/invitations", {"email": "three@docs.example.org", "role": "viewer"}
        ).json()["id"],
    }
    document = account.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            command = operation["x-codeSamples"][0]["source"]
            ran = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"], **places},
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 0, (method, path, ran.stdout[-500:], ran.stderr)
    assert len((tmp_path / "picture.png").read_bytes()) == drawn["image"]["bytes"]


def upload(account: Account) -> str:
    answer = account.http.post("/v1/uploads", files={"file": encoded(scene())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["upload_id"])


def batch(account: Account) -> str:
    answer = account.post("/v1/batches", {"items": [account.body()]})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["batch_id"])


def test_the_page_of_the_document_is_there(account: Account) -> None:
    page = account.get("/docs")

    assert page.status_code == 200
    assert '<rapi-doc spec-url="/openapi.json"' in page.text
    assert len(account.get("/docs/rapidoc-min.js").content) > 500_000
