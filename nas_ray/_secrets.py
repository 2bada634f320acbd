"""URIs with passwords: how they are shown, and which are refused."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^\s/@:]*):[^\s/]+@")  # the longest: a password may hold an @
_QUERY = re.compile(r"([?&][^\s=&#]*(?:password|passwd|pwd|secret|token|key)=)[^\s&#'\"]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """``text`` with every password of a URI in it as ``***``."""
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def has_secret(uri: str) -> bool:
    """Whether ``uri`` holds what must not be written down."""
    return redacted(uri) != uri
