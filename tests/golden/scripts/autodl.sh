#!/usr/bin/env bash
# Made by `envkit bootstrap`: prepares Ubuntu 22.04 to run environments
# (venv: this is a container of AutoDL, and Docker cannot run in it).
# Read it, then run it as root: sudo -E bash THIS-FILE. What is done already is skipped, so it may be stopped anywhere
# and run again.
# shellcheck disable=SC2016  # messages name `commands`
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin


# Leaves stdin in the file $1, whole or not at all; what holds an address with a password is root's alone.
put() {
    mkdir -p "$(dirname "$1")"
    rm -f "$1.envkit-new"
    (umask 077 && cat >"$1.envkit-new")
    [[ $(<"$1.envkit-new") == *://*@* ]] || chmod 644 "$1.envkit-new"
    mv -f "$1.envkit-new" "$1"
}

# Runs $@, and waits while another package manager is at work.
in_turn() {
    local said status
    while true; do
        status=0
        said=$(LC_ALL=C "$@" 2>&1) || status=$?
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
