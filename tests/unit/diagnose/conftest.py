"""Properties are tried with the same examples everywhere, and a busy machine does not make them fail."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("envkit", deadline=None, derandomize=True, database=None)
settings.load_profile("envkit")
