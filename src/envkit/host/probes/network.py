"""Whether what an environment is made from can be reached; the network takes its time, so `envkit doctor` alone asks."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Literal

from envkit import process
from envkit.errors import BackendError
from envkit.host.facts import Endpoint
from envkit.host.index import ca_bundle, package_index, uv_command, uv_environ
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 8.0
"""Seconds; what takes longer for one small answer is of no use for gigabytes."""
Purpose = Literal["index", "registry", "huggingface"]
HUGGINGFACE = "https://huggingface.co"
"""The default of huggingface_hub."""


def endpoint_probes(image: str) -> dict[Purpose, tuple[Callable[[], dict[str, Endpoint]], float]]:
    """A probe each for the package index, the registry that has `image`, and Hugging Face."""
    return {
        "index": (lambda: {"endpoint": _index()}, _LIMIT),
        "registry": (lambda: {"endpoint": _registry(image)}, _LIMIT),
        "huggingface": (lambda: {"endpoint": _huggingface()}, _LIMIT),
    }


def _index() -> Endpoint:
    """Asks as an install would: through uv, with the index, the certificates and the proxies that are set up."""
    try:
        address = redact(package_index() or "uv's default index")
        done = process.run(
            [*uv_command(), "pip", "compile", "-", "--no-deps", "--no-cache", "--no-header", "--quiet"],
            env={**uv_environ(), "UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"},
            stdin="packaging\n",
            cwd=None,
            timeout=_LIMIT - 1,
        )
    except BackendError as error:
        return Endpoint(purpose="index", address="", problem=error.message)
    lines = [line.strip(" │╰─▶├×") for line in done.stderr.splitlines()]
    return Endpoint(purpose="index", address=address, problem=lines[-1] if done.status and lines else "")


def _registry(image: str) -> Endpoint:
    """Lets the engine ask for the base image, through its own mirrors and proxies; one that it has needs no asking."""
    import docker
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        client = docker.from_env(version="auto", timeout=int(_LIMIT))
    except (DockerException, OSError):
        return Endpoint(purpose="registry", address=image)  # no engine, no registry: the engine's own finding tells
    try:
        client.images.get(image)
    except ImageNotFound:
        pass
    except (DockerException, OSError) as error:
        return Endpoint(purpose="registry", address=image, problem=redact(str(error)))
    else:
        return Endpoint(purpose="registry", address=image)
    try:
        client.images.get_registry_data(image)
    except APIError as error:
        return Endpoint(purpose="registry", address=image, problem=redact(str(error.explanation or error)))
    except (DockerException, OSError) as error:
        return Endpoint(purpose="registry", address=image, problem=redact(str(error)))
    return Endpoint(purpose="registry", address=image)


def _huggingface() -> Endpoint:
    address = os.environ.get("HF_ENDPOINT") or HUGGINGFACE
    bundle = ca_bundle()
    try:
        context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310  # the user's own address
        with urllib.request.urlopen(request, timeout=_LIMIT - 1, context=context):  # noqa: S310
            problem = ""
    except urllib.error.HTTPError as error:
        problem = "" if error.code < 500 else str(error)  # it answered
    except (OSError, ValueError, http.client.HTTPException) as error:
        problem = redact(str(getattr(error, "reason", error)))
    return Endpoint(purpose="huggingface", address=redact(address), problem=problem)
