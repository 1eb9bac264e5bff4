"""The version of this client, and how it names itself."""

from __future__ import annotations

import platform
from typing import Final

VERSION: Final = "0.1.0"
USER_AGENT: Final = f"imagineo-client/{VERSION} python/{platform.python_version()}"
