"""The TypeScript client's own unit tests, by Node's test runner on the sources as they are."""

from __future__ import annotations

from tests.support.node import TYPESCRIPT, ran


def test_the_clients_own_tests_pass() -> None:
    files = sorted(str(path.relative_to(TYPESCRIPT)) for path in (TYPESCRIPT / "tests").glob("*.test.ts"))

    printed = ran("node", "--test", "--test-timeout=30000", "--test-reporter=tap", *files)

    assert len(files) >= 6
    assert "\nnot ok" not in printed
    assert "\n# fail 0" in printed
