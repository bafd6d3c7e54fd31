"""What the end-to-end tests take from the integration tests."""

from __future__ import annotations

from tests.integration.conftest import stand_in_gpus

__all__ = ["stand_in_gpus"]
