# shellcheck shell=bash
# What the steps call on Debian and Ubuntu; see functions.sh.

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

# Whether the package manager knows where to get the package $1.
offered() {
    [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [0-9] ]]
}
