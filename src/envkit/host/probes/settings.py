"""What this machine is set up with, and who rents it out."""

from __future__ import annotations

import os
import re
from typing import Any

from envkit.errors import BackendError
from envkit.host.facts import Settings
from envkit.host.home import find_provider
from envkit.host.index import PROXIES, ca_bundle, package_index
from envkit.process import redact

_CREDENTIALS = re.compile(r"^([\w+.-]+://)?.*@")
"""Of a proxy, which may be written without its scheme, and which no path follows."""


def probe_provider() -> dict[str, Any]:
    """Who rents this container out; empty: nobody that is known."""
    found = find_provider()
    return {"provider": found[0] if found else ""}


def probe_settings() -> dict[str, Any]:
    """Proxies, mirrors and certificates, without user names and passwords."""
    proxies = {name: os.environ[name] for each in PROXIES for name in (each, each.lower()) if os.environ.get(name)}
    try:
        index = package_index()
    except BackendError:
        index = None  # pip's configuration is broken; whoever needs it says so
    endpoint, bundle = os.environ.get("HF_ENDPOINT"), ca_bundle()
    return {
        "settings": Settings(
            proxies={name: _CREDENTIALS.sub(r"\1***@", value) for name, value in proxies.items()},
            index=redact(index) if index else None,
            huggingface=redact(endpoint) if endpoint else None,
            modelscope=os.environ.get("USE_MODELSCOPE_HUB", "").lower() in ("1", "true", "y", "yes"),
            certificates=str(bundle) if bundle else None,
        )
    }
