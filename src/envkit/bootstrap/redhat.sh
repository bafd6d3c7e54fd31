# shellcheck shell=bash
# What the steps call on RHEL and its kin; see functions.sh.

# Installs packages and removes none.
install_packages() {
    dnf -y install "$@"
}

# Whether the package manager knows where to get the package $1.
offered() {
    dnf -q list --available "$1" >/dev/null 2>&1
}
