#!/usr/bin/env bash
# Made by `envkit bootstrap`: prepares Ubuntu 22.04 to run environments
# (venv: this is a container of AutoDL, and Docker cannot run in it).
# Read it, then run it as root: sudo -E bash THIS-FILE. What is done already is skipped, so it may be stopped anywhere
# and run again.
# shellcheck disable=SC2016  # messages name `commands`
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

lock=/run/envkit-bootstrap.lock

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

if ((EUID != 0)); then
    echo "error: only root can do this: sudo -E bash $0" >&2
    exit 1
fi
take_machine $$

# 1. compiler: a C compiler
# Triton compiles a launcher when it first runs in a venv
if
    echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null
then
    echo '= compiler: done already'
else
    echo '> compiler: a C compiler'
    install_packages gcc libc6-dev
    if ! {
        echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null
    }; then
        echo 'error: compiler did not work: see above what the package manager said' >&2
        exit 1
    fi
fi
echo 'note: its page publishes the ports 6006 and 6008: `envkit run FRAMEWORK APP --port 6006`'
echo 'note: environments and caches are kept in /root/autodl-tmp/envkit, on the data disk'
echo "ready"
