"""Merges settings into the daemon.json of Docker; a program of its own, for the python3 that a machine has."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

USUAL = "/var/lib/docker"
"""Where Docker keeps its data by itself."""


def merged(present: dict[str, object], wanted: dict[str, object]) -> dict[str, object]:
    """What is present, with what is wanted and was not set: a setting that somebody chose stays as it is.

    Entries of lists are added, unless they set anew what one that is there sets (`native.cgroupdriver=systemd`).
    """
    result = dict(present)
    for key, value in wanted.items():
        there = result.get(key)
        driver = wanted.get("log-driver")
        if key == "log-opts" and present.get("log-driver", driver) != driver:
            continue  # another driver has other options, and refuses these
        if there is None:
            result[key] = value
        elif isinstance(there, dict) and isinstance(value, dict):
            result[key] = merged(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            names = {str(each).split("=")[0] for each in there}
            result[key] = there + [each for each in value if str(each).split("=")[0] not in names]
    return result


def kept(root: str) -> str:
    """What Docker keeps there that somebody would miss, such as `2 images, 1 volume`."""
    patterns = {"image": "image/*/imagedb/content/sha256/*", "container": "containers/*", "volume": "volumes/*/_data"}
    counts = {name: len([*Path(root).glob(pattern)]) for name, pattern in patterns.items()}
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count)


def in_the_way(present: dict[str, object], wanted: dict[str, object]) -> str | None:
    """Why the data cannot be where it is wanted: an engine sees what is there, and nothing that it kept elsewhere."""
    old, new = str(present.get("data-root", USUAL)).rstrip("/"), str(wanted.get("data-root", "")).rstrip("/")
    if not new or new == old:
        return None
    if "data-root" in present:
        return f"error: Docker keeps its data in {old}, as data-root says there: it is not moved to {new}"
    there = kept(old)
    if not there or kept(new):
        return None
    source, target = shlex.quote(f"{old}/."), shlex.quote(new)
    return (
        f"error: Docker would see nothing of what it keeps in {old}: {there}\n"
        f"take it along: sudo systemctl stop docker.socket docker; sudo mkdir -p {target}; sudo cp -a {source} {target}\n"
        "then run this again; or do without another data-root"
    )


def main(action: str, name: str, wanted: str) -> str | None:
    """`merge` or `check`; what is wrong, or None."""
    path = Path(name).resolve()  # it may be a link, which stays
    try:
        text = path.read_text(encoding="utf-8")
        present = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        text, present = "", {}
    except ValueError as error:
        return f"error: not JSON, and left as it is: {path}: {error}"
    if not isinstance(present, dict):
        return f"error: not a table of settings, and left as it is: {path}"
    settings = json.loads(wanted)
    if problem := in_the_way(present, settings):
        return problem
    result = merged(present, settings)
    if result == present:
        return None
    if action == "check":
        return "not there yet: " + ", ".join(key for key in result if result[key] != present.get(key))
    path.parent.mkdir(parents=True, exist_ok=True)
    before, new = Path(f"{path}.before-envkit"), Path(f"{path}.envkit-new")
    if text and not before.exists():
        shutil.copy2(path, new)
        new.replace(before)
    new.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
