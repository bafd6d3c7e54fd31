"""How images are built: arguments, build secrets that never stay in an image, and what refusals mean."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from envkit import process
from envkit.host.index import ca_bundle, is_loopback, package_index, serving, split_proxies
from envkit.render.templates import build_context

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Recipe
    from envkit.matrix.schema import Mirror

RECIPE_LABEL = "io.envkit.recipe"
BASE_LABEL = "io.envkit.base"
AGAIN = "fix the cause and run the same command again: the steps before it are cached"
"""The hint where nothing more is known."""


def recipe_hash(recipe: Recipe) -> str:
    """Changes with every file that decides what the image is."""
    files = build_context(recipe.environment, recipe.lock)
    return hashlib.sha256("".join(f"{name}\0{files[name]}\0" for name in sorted(files)).encode()).hexdigest()


def build_command() -> list[str]:
    """buildx where the plugin exists; BuildKit inside the engine otherwise (Docker 20.10)."""
    if process.run(["docker", "buildx", "version"]).status == 0:
        return ["docker", "buildx", "build", "--load", "--progress", "plain"]
    return ["docker", "build", "--progress", "plain"]


def build_options(recipe: Recipe, folder: Path) -> list[str]:
    """The build's arguments, after its files were written to `folder`: the context, and beside it the secrets."""
    context = folder / "context"
    context.mkdir()
    for name, text in build_context(recipe.environment, recipe.lock).items():
        (context / name).write_text(text)

    mirror, options = recipe.mirror, []
    index = (mirror.index if mirror else None) or package_index()
    if index:
        (folder / "index").write_text(index)
        options += ["--secret", f"id=index,src={folder / 'index'}"]
    if bundle := ca_bundle():
        options += ["--secret", f"id=ca,src={bundle}"]
    if mirror and mirror.apt:
        options += ["--build-arg", f"APT_MIRROR={mirror.apt}"]
    if base := recipe.base_image or (
        mirror and mirror.docker_hub and f"{mirror.docker_hub}/library/{recipe.environment.base.name}"
    ):
        options += ["--build-arg", f"BASE_IMAGE={base}", "--label", f"{BASE_LABEL}={base}"]
    proxies, loopback = split_proxies()
    for name in [*proxies, *loopback]:
        options += ["--build-arg", name]  # the value is taken from the environment, never from argv
    if loopback or is_loopback(index or ""):
        options += ["--network", "host"]  # inside a build's own network, 127.0.0.1 is the build
    image = recipe.environment.image
    return [
        *options,
        "--label",
        f"{RECIPE_LABEL}={recipe_hash(recipe)}",
        "--tag",
        image,
        str(context),
    ]


def build_hint(details: str, program: str, mirror: Mirror | None = None) -> str:
    """The next thing to do, from what the failing step said; `program` is the engine's command line."""
    if "no space left on device" in details.lower():
        prune = "image prune" if program == "podman" else "builder prune"
        return f"make room where the engine keeps its data: `{program} system df` shows what is there, `{program} {prune}` frees caches"
    if "hash mismatch" in details.lower():
        index = (mirror.index if mirror else None) or package_index()
        return f"what {serving(index)} serves is not what was locked; nothing was installed from it: choose another index with `--mirror`"
    if re.search(
        r"failed to (resolve|do request|authorize)|creating build container|failed to solve.*(pull|source metadata)",
        details,
    ):
        return "the base image could not be pulled: load it first, or name another with `--base-image IMAGE` or a mirror with `--mirror cn`"
    return AGAIN
