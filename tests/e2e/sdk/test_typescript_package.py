"""The npm tarball: in an empty folder it draws by the quick start, in each runtime; its types fit strict users."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.node import TYPESCRIPT, ran
from tests.support.rest import Account

RUNTIMES = ("deno@2.9.6", "bun@1.4.5")
PERMISSIONS = ("--allow-net", "--allow-env", "--allow-read", "--allow-write")
CONSUMER = """
import { type Generation, Imagineo, RateLimitedError, type RunEvent, verifyWebhook } from "imagineo-client";

const client = new Imagineo({ apiKey: "imag_x", timeoutS: 5 });
export async function draw(signal: AbortSignal): Promise<Generation> {
  const run = await client.generate("a mug", { model_id: "model_1", lora_weight: 0.8, signal });
  for await (const event of run.events({ previews: true })) tell(event);
  // @ts-expect-error: there is no such field
  await client.generate("a mug", { colour: "blue" }).catch((problem) => problem instanceof RateLimitedError);
  return await run.wait({ timeoutS: 60, signal });
}
function tell(event: RunEvent): string {
  return event.type === "preview" ? event.preview.image : event.generation.status;
}
export const verified = verifyWebhook("", new Headers(), "whsec_AAAA");
"""


@pytest.fixture(scope="module")
def package(typescript_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project with the tarball in it, as `make sdks` builds it."""
    folder = str(typescript_build)
    [built] = json.loads(ran("npm", "pack", "--json", "--pack-destination", folder, cwd=typescript_build))
    project = tmp_path_factory.mktemp("project")
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    # Offline: it has no dependency.
    ran("npm", "install", "--offline", "--no-audit", "--no-fund", f"{folder}/{built['filename']}", cwd=project)
    return project


def test_the_tarball_holds_the_package_and_nothing_else(package: Path) -> None:
    folder = package / "node_modules" / "imagineo-client"
    found = sorted(path.name for path in folder.iterdir())

    assert found == ["LICENSE", "README.md", "dist", "package.json", "src"]
    assert [path.name for path in (package / "node_modules").iterdir() if not path.name.startswith(".")] == [
        "imagineo-client"
    ]
    assert json.loads((folder / "package.json").read_text()).get("dependencies", {}) == {}


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Deno and Bun are; what npm calls their packages are the programs themselves."""
    folder = tmp_path_factory.mktemp("runtimes")
    ran("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *RUNTIMES, cwd=folder, within_s=200)
    return folder / "node_modules" / ".bin"


@pytest.mark.parametrize("command", [("node",), ("deno", "run", *PERMISSIONS), ("bun", "run")], ids=lambda it: it[0])
def test_the_quick_start_of_the_readme_draws(
    package: Path, account: Account, command: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    [script] = re.findall(r"```js\n(.*?)```", (TYPESCRIPT / "README.md").read_text(), re.DOTALL)
    assert len(script.splitlines()) <= 10
    (package / "quick_start.mjs").write_text(script)
    (package / "apple.png").unlink(missing_ok=True)
    program, *options = command
    if program != "node":
        program = str(request.getfixturevalue("runtimes") / program)
    env = {"IMAGINEO_URL": account.url, "IMAGINEO_API_KEY": account.key}

    printed = ran(program, *options, "quick_start.mjs", cwd=package, env=env)

    assert "completed: 100 %" in printed
    assert "apple.png, drawn with seed" in printed
    assert (package / "apple.png").read_bytes()[:4] == b"\x89PNG"


def test_the_types_fit_a_strict_project(package: Path, typescript: Path) -> None:
    (package / "consumer.ts").write_text(CONSUMER)
    options = {
        **dict.fromkeys(("strict", "exactOptionalPropertyTypes", "noUncheckedIndexedAccess", "noEmit"), True),
        "module": "nodenext",
        "target": "es2022",
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": [],
    }
    (package / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["consumer.ts"]}))

    ran(str(typescript / "node_modules" / ".bin" / "tsc"), cwd=package)
