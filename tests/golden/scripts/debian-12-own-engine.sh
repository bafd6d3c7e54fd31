#!/usr/bin/env bash
# Made by `envkit bootstrap`: prepares Debian 12 to run environments
# (docker: this machine can run containers).
# Read it, then run it as root: sudo -E bash THIS-FILE. What is done already is skipped, so it may be stopped anywhere
# and run again.
# shellcheck disable=SC2016  # messages name `commands`
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

engine_packages=(docker.io)
daemon_wanted='{"log-driver": "json-file", "log-opts": {"max-size": "50m", "max-file": "3"}, "features": {"cdi": true}}'
daemon_program='"""Merges settings into the daemon.json of Docker; a program of its own, for the python3 that a machine has."""

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
    return ", ".join(f"{count} {name}{'"'"'s'"'"' if count > 1 else '"'"''"'"'}" for name, count in counts.items() if count)


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
'
lock=/run/envkit-bootstrap.lock
limits='# Written by envkit bootstrap. Data loaders and servers open many files; root is not among those that * means.
* soft nofile 65536
* hard nofile 1048576
root soft nofile 65536
root hard nofile 1048576'

# Takes the machine for this shell, which is of the process $1: nobody else prepares it meanwhile. A step whose
# `envkit bootstrap` was killed may still run, and is waited for.
take_machine() {
    command -v flock >/dev/null || return 0 # a container with next to nothing in it, and nobody else
    exec 8>>"$lock" 9>>"$lock.step"
    if ! flock --wait 2 8; then # one that was killed just now has let go by then
        echo "error: another \`envkit bootstrap\` is at work on this machine: $(<"$lock")" >&2
        return 1
    fi
    echo "${SUDO_USER:-root}, process $1" >"$lock"
    if ! flock --nonblock 9; then
        echo "waiting for what was left running: $(<"$lock.step")"
        flock 9
    fi
}

# Leaves stdin in the file $1, whole or not at all; what holds an address with a password is root's alone.
put() {
    mkdir -p "$(dirname "$1")"
    rm -f "$1.envkit-new"
    (umask 077 && cat >"$1.envkit-new")
    [[ $(<"$1.envkit-new") == *://*@* ]] || chmod 644 "$1.envkit-new"
    mv -f "$1.envkit-new" "$1"
}

# Whether the file $1 says $2 and nothing else.
holds() {
    [[ -f $1 && $(<"$1") == "$2" ]]
}

# Adds the settings $2 to /etc/docker/daemon.json (`merge`), or tells whether they are there (`check`).
daemon_json() {
    python3 -c "$daemon_program" "$1" /etc/docker/daemon.json "$2"
}

# Whether the engine answers, and has read the settings that are there now.
docker_is_current() {
    docker version >/dev/null 2>&1 && [[ ! /etc/docker/daemon.json -nt /run/docker.pid ]]
}

# Starts the engine, or starts it anew where its settings are newer than it is; with systemd or by hand.
start_docker() {
    local old
    if [[ -d /run/systemd/system ]]; then
        systemctl enable docker
        systemctl restart docker
    else
        old=$(cat /run/docker.pid 2>/dev/null || true)
        if [[ -n $old && $(readlink "/proc/$old/exe") == */dockerd* ]]; then
            kill "$old"
            timeout 30 tail --pid="$old" -f /dev/null
        fi
        rm -f /run/docker.pid
        setsid dockerd </dev/null >>/var/log/dockerd.log 2>&1 8>&- 9>&- & # it outlives the step
    fi
    timeout 60 bash -c 'until docker version >/dev/null 2>&1; do sleep 0.5; done'
}

# Runs $@, and waits while another package manager is at work. What it starts may outlive the step.
in_turn() {
    local said status
    while true; do
        status=0
        said=$(LC_ALL=C "$@" 2>&1 8>&- 9>&-) || status=$?
        [[ $status -ne 0 && $said == *" lock"* && $SECONDS -lt 600 ]] || break
        sleep 2
    done
    echo "$said"
    return "$status"
}

# Installs packages and removes none; what an installation that was cut short has left is put in order first.
install_packages() {
    local lists=/run/envkit-package-lists options=(-q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    in_turn dpkg --configure -a
    if [[ ! $lists -nt /etc/apt/sources.list.d || -z $(find "$lists" -mmin -60) ]]; then
        if in_turn apt-get "${options[@]}" update; then
            touch "$lists"
        else
            echo "warning: not all package lists could be read" >&2
        fi
    fi
    apt-get "${options[@]}" install -y --no-install-recommends --no-remove --fix-broken "$@"
}

# Whether no installation of packages is at work, nor was cut short.
settled() {
    [[ $(dpkg-query --show --showformat '${db:Status-Status} ') != *@(half-|unpacked|triggers-)* ]]
}

# Whether all of these packages are installed, and none of them half.
installed() {
    local each
    for each in "$@"; do
        [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$each" 2>/dev/null) == installed ]] || return 1
    done
}

if ((EUID != 0)); then
    echo "error: only root can do this: sudo -E bash $0" >&2
    exit 1
fi
take_machine $$

# 1. packages: no package left half installed
# an installation that was cut short is brought to its end before anything is put on top of it
if
    settled
then
    echo '= packages: done already'
else
    echo '> packages: no package left half installed'
    install_packages
    if ! {
        settled
    }; then
        echo 'error: packages did not work: `sudo dpkg --configure -a` by hand says which package cannot be configured, and why' >&2
        exit 1
    fi
fi

# 2. prerequisites: programs that fetch and check keys
# keys are fetched with curl and checked with gpg, and daemon.json is merged with python3
if
    command -v curl >/dev/null &&
    command -v gpg >/dev/null &&
    python3 -c 'import json' &&
    { test -s /etc/ssl/certs/ca-certificates.crt || test -s /etc/pki/tls/certs/ca-bundle.crt; }
then
    echo '= prerequisites: done already'
else
    echo '> prerequisites: programs that fetch and check keys'
    install_packages ca-certificates curl gpg python3
    if ! {
        command -v curl >/dev/null &&
        command -v gpg >/dev/null &&
        python3 -c 'import json' &&
        { test -s /etc/ssl/certs/ca-certificates.crt || test -s /etc/pki/tls/certs/ca-bundle.crt; }
    }; then
        echo 'error: prerequisites did not work: the package lists of the distribution could not be read, or lack these packages' >&2
        exit 1
    fi
fi

# 3. daemon-json: Docker's settings
# logs of containers are kept small, and what is wanted here is added; what is there already stays, with a copy in daemon.json.before-envkit
if
    daemon_json check "$daemon_wanted" 2>/dev/null
then
    echo '= daemon-json: done already'
else
    echo '> daemon-json: Docker'"'"'s settings'
    daemon_json merge "$daemon_wanted"
    if ! {
        daemon_json check "$daemon_wanted"
    }; then
        echo 'error: daemon-json did not work: /etc/docker/daemon.json is as it was; above is what stands in the way' >&2
        exit 1
    fi
fi

# 4. distribution-engine: the distribution's Docker Engine
# Docker's own repository cannot be reached from here, nor a mirror of it; this engine is older
if
    installed "${engine_packages[@]}"
then
    echo '= distribution-engine: done already'
else
    echo '> distribution-engine: the distribution'"'"'s Docker Engine'
    install_packages "${engine_packages[@]}"
    if ! {
        installed "${engine_packages[@]}"
    }; then
        echo 'error: distribution-engine did not work: see above what the package manager said' >&2
        exit 1
    fi
fi

# 5. docker-running: the engine, started with these settings
# an engine that runs already is restarted where its settings are newer than it is, and running containers stop then
if
    docker_is_current
then
    echo '= docker-running: done already'
else
    echo '> docker-running: the engine, started with these settings'
    start_docker
    if ! {
        docker_is_current
    }; then
        echo 'error: docker-running did not work: `journalctl -u docker -n 50` or /var/log/dockerd.log says why; the settings before are in /etc/docker/daemon.json.before-envkit' >&2
        exit 1
    fi
fi

# 6. limits: open files
# the usual limit of 1024 open files ends data loaders and servers; it counts from the next login on
if
    holds /etc/security/limits.d/90-envkit.conf "$limits"
then
    echo '= limits: done already'
else
    echo '> limits: open files'
    put /etc/security/limits.d/90-envkit.conf <<<"$limits"
    if ! {
        holds /etc/security/limits.d/90-envkit.conf "$limits"
    }; then
        echo 'error: limits did not work: /etc/security/limits.d must be a folder that root may write to' >&2
        exit 1
    fi
fi
echo 'note: Docker'"'"'s own repository does not answer, nor does a mirror of it: the distribution'"'"'s engine is taken'
echo 'note: NVIDIA'"'"'s repository does not answer, nor does a mirror of it: containers get no GPU yet, venvs do'
echo "ready"
