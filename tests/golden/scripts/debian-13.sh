#!/usr/bin/env bash
# Made by `envkit bootstrap`: prepares Debian 13 to run environments
# (docker: this machine can run containers).
# Read it, then run it as root: sudo -E bash THIS-FILE. What is done already is skipped, so it may be stopped anywhere
# and run again.
# shellcheck disable=SC2016  # messages name `commands`
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

docker_fingerprint=9DC858229FC7DD38854AE2D88D81803C0EBFCD88
toolkit_fingerprint=C95B321B61E88C1809C4F759DDCAE044F796ECB0
driver_fingerprint=EB693B3035CD5710E231E123A4B469963BF863CC
docker_key_url=https://near.example/docker-ce/linux/debian/gpg
toolkit_key_url=https://near.example/toolkit/gpgkey
driver_url=https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64
driver_package=cuda-drivers
daemon_wanted='{"log-driver": "json-file", "log-opts": {"max-size": "50m", "max-file": "3"}, "features": {"cdi": true}, "registry-mirrors": ["https://hub.example"], "data-root": "/data/docker"}'
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
user=me
lock=/run/envkit-bootstrap.lock
docker_key=/etc/apt/keyrings/docker.asc
docker_file=/etc/apt/sources.list.d/docker.sources
toolkit_key=/etc/apt/keyrings/nvidia-container-toolkit.asc
toolkit_file=/etc/apt/sources.list.d/nvidia-container-toolkit.sources
docker_source='Types: deb
URIs: https://near.example/docker-ce/linux/debian
Suites: trixie
Components: stable
Architectures: amd64
Signed-By: /etc/apt/keyrings/docker.asc'
toolkit_source='Types: deb
URIs: https://near.example/toolkit/stable/deb/amd64
Suites: /
Signed-By: /etc/apt/keyrings/nvidia-container-toolkit.asc'
driver_source='Types: deb
URIs: https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64
Suites: /
Signed-By: /etc/apt/keyrings/cuda-archive-keyring.gpg'
driver_pin='Package: *nvidia* *cuda-drivers* libcuda1
Pin: version 580.*
Pin-Priority: 1000'
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

# Leaves the key at the address $1 in the file $3, if it is the one with the fingerprint $2 and there is no other beside it:
# a package manager trusts all keys of a file. The address may hold a password, and everybody may read arguments.
fetch_key() {
    local found
    mkdir -p "$(dirname "$3")"
    curl -fsSL --retry 3 --connect-timeout 20 -o "$3.envkit-new" --config - <<<"url = \"$1\""
    found=$(gpg --batch --with-colons --show-keys "$3.envkit-new" |
        awk -F: '$1 == "pub" { key = 1 } $1 == "fpr" && key { print $10; key = 0 }') || true
    if [[ $found != "$2" ]]; then
        rm -f "$3.envkit-new"
        echo "error: what is at $1 is not the key with the fingerprint $2 alone" >&2
        return 1
    fi
    chmod 644 "$3.envkit-new"
    mv -f "$3.envkit-new" "$3"
}

# Adds the settings $2 to /etc/docker/daemon.json (`merge`), or tells whether they are there (`check`).
daemon_json() {
    python3 -c "$daemon_program" "$1" /etc/docker/daemon.json "$2"
}

# Adds the runtime `nvidia` to a copy of /etc/docker/daemon.json, which takes its place when it is whole.
configure_runtime() {
    local new=/etc/docker/daemon.json.envkit-new
    mkdir -p /etc/docker
    rm -f "$new"
    [[ ! -e /etc/docker/daemon.json ]] || cp -p /etc/docker/daemon.json "$new"
    nvidia-ctk runtime configure --runtime=docker --config="$new"
    mv -f "$new" "$(readlink -f /etc/docker/daemon.json)"
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

# Whether the package manager knows where to get the package $1.
offered() {
    [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [0-9] ]]
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

# 3. driver: the NVIDIA driver
# there is a GPU and no driver; a GPU that is in use keeps the module that it has until the machine restarts
if
    nvidia-smi >/dev/null 2>&1
then
    echo '= driver: done already'
else
    echo '> driver: the NVIDIA driver'
    fetch_key "$driver_url/cuda-archive-keyring.gpg" "$driver_fingerprint" /etc/apt/keyrings/cuda-archive-keyring.gpg
    put /etc/apt/sources.list.d/envkit-nvidia-driver.sources <<<"$driver_source"
    put /etc/apt/preferences.d/envkit-nvidia-driver <<<"$driver_pin"
    install_packages "linux-headers-$(uname -r)" "$driver_package"
    modprobe nvidia || true
    if ! {
        nvidia-smi >/dev/null
    }; then
        echo 'error: driver did not work: restart the machine and run the same command again, which goes on from here; if it is Secure Boot that refuses the module, `mokutil --sb-state` says so' >&2
        exit 1
    fi
fi

# 4. docker-repository: Docker's own packages
# they bring buildx and compose, and an engine that hands GPUs over by CDI; the key must have Docker's fingerprint
if
    { test -s "$docker_key" && holds "$docker_file" "$docker_source" || offered docker-ce; }
then
    echo '= docker-repository: done already'
else
    echo '> docker-repository: Docker'"'"'s own packages'
    fetch_key "$docker_key_url" "$docker_fingerprint" "$docker_key"
    put "$docker_file" <<<"$docker_source"
    if ! {
        { holds "$docker_file" "$docker_source" || offered docker-ce; }
    }; then
        echo 'error: docker-repository did not work: the repository could not be reached, or its key is not Docker'"'"'s; `--mirror auto` looks for one that answers' >&2
        exit 1
    fi
fi

# 5. toolkit-repository: NVIDIA's packages for containers
# the NVIDIA Container Toolkit is in no distribution; the key must have NVIDIA's fingerprint
if
    { test -s "$toolkit_key" && holds "$toolkit_file" "$toolkit_source" || offered nvidia-container-toolkit; }
then
    echo '= toolkit-repository: done already'
else
    echo '> toolkit-repository: NVIDIA'"'"'s packages for containers'
    fetch_key "$toolkit_key_url" "$toolkit_fingerprint" "$toolkit_key"
    put "$toolkit_file" <<<"$toolkit_source"
    if ! {
        { holds "$toolkit_file" "$toolkit_source" || offered nvidia-container-toolkit; }
    }; then
        echo 'error: toolkit-repository did not work: the repository could not be reached, or its key is not NVIDIA'"'"'s; `--mirror auto` looks for one that answers' >&2
        exit 1
    fi
fi

# 6. toolkit: the NVIDIA Container Toolkit
# containers get GPUs from it
if
    command -v nvidia-ctk >/dev/null
then
    echo '= toolkit: done already'
else
    echo '> toolkit: the NVIDIA Container Toolkit'
    install_packages nvidia-container-toolkit
    if ! {
        nvidia-ctk --version >/dev/null
    }; then
        echo 'error: toolkit did not work: see above what the package manager said' >&2
        exit 1
    fi
fi

# 7. daemon-json: Docker's settings
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

# 8. nvidia-runtime: Docker's runtime for GPUs
# `docker run --gpus` and compose files ask for it where CDI does not serve
if
    grep -qs nvidia-container-runtime /etc/docker/daemon.json
then
    echo '= nvidia-runtime: done already'
else
    echo '> nvidia-runtime: Docker'"'"'s runtime for GPUs'
    configure_runtime
    if ! {
        grep -qs nvidia-container-runtime /etc/docker/daemon.json
    }; then
        echo 'error: nvidia-runtime did not work: /etc/docker/daemon.json is as it was' >&2
        exit 1
    fi
fi

# 9. docker-engine: Docker Engine with buildx and compose
# images are built and run with it; packages that are there already are not removed for it
if
    command -v dockerd >/dev/null &&
    docker buildx version >/dev/null 2>&1 &&
    docker compose version >/dev/null 2>&1
then
    echo '= docker-engine: done already'
else
    echo '> docker-engine: Docker Engine with buildx and compose'
    install_packages docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
    if ! {
        command -v dockerd >/dev/null &&
        docker buildx version >/dev/null 2>&1 &&
        docker compose version >/dev/null 2>&1
    }; then
        echo 'error: docker-engine did not work: where packages of the distribution are in the way (containerd, runc, podman-docker), remove them yourself and run the same command again' >&2
        exit 1
    fi
fi

# 10. docker-running: the engine, started with these settings
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

# 11. cdi: the GPUs, described for containers
# a container that gets them by CDI keeps them when systemd reloads
if
    nvidia-ctk cdi list 2>/dev/null | grep -q nvidia.com/gpu=
then
    echo '= cdi: done already'
else
    echo '> cdi: the GPUs, described for containers'
    mkdir -p /etc/cdi
    nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml
    if ! {
        nvidia-ctk cdi list 2>/dev/null | grep -q nvidia.com/gpu=
    }; then
        echo 'error: cdi did not work: `nvidia-smi` must answer first' >&2
        exit 1
    fi
fi

# 12. docker-group: the right to use the engine
# who is in the group `docker` needs no sudo for it, and has the power of root; it counts from the next login on
if
    [[ " $(id -nG "$user") " == *" docker "* ]]
then
    echo '= docker-group: done already'
else
    echo '> docker-group: the right to use the engine'
    usermod -aG docker "$user"
    if ! {
        [[ " $(id -nG "$user") " == *" docker "* ]]
    }; then
        echo 'error: docker-group did not work: `sudo usermod -aG docker USER` by hand says why' >&2
        exit 1
    fi
fi

# 13. limits: open files
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
echo "ready"
