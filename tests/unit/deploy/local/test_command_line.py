from __future__ import annotations

import sys

import pytest

from deploy.local.__main__ import main


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused_with_its_range(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["deploy.local", f"--port={port}"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert f"must be a whole number from 0 to 65535, not '{port}'" in capsys.readouterr().err
