"""What the tests of the shipped data share: the data itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envkit.matrix.load import Matrix, MatrixEnvironment, load_matrix

SHIPPED = load_matrix(Path(os.devnull))  # with an overlay that is empty: not the developer's own
ENVIRONMENTS = SHIPPED.environments()


@pytest.fixture(scope="session")
def shipped() -> Matrix:
    """The matrix as users get it."""
    return SHIPPED


@pytest.fixture(params=ENVIRONMENTS, ids=lambda each: each.name)
def environment(request: pytest.FixtureRequest) -> MatrixEnvironment:
    """Each environment as users get it."""
    return request.param
