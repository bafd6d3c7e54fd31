# shellcheck shell=bash disable=SC2154  # variables are those of the steps
# What the steps in steps.yaml call. A script has those that its steps use, and nothing is found by guessing: a function
# begins with `name() {` and ends with the next `}` at the beginning of a line; the comment above it goes with it.

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

# Takes the machine for the step $1, as long as any program of it runs, whether or not somebody waits for its end.
take_step() {
    command -v flock >/dev/null || return 0
    exec 9>>"$lock.step"
    flock 9
    echo "step $1, process $$" >"$lock.step"
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
