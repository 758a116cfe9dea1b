#!/usr/bin/env bash
# Install what a task needs and the machine lacks: setup.sh [build|demo|test|sanitizers|lint]…
# Debian packages through apt-get (with sudo when not root: nothing else here ever needs it), Python packages in .venv.
# Where everything is there already it changes nothing and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
venv=false
pytest=false
for group in build "$@"; do
    case $group in
    build) packages+=(gcc libc6-dev make meson ninja-build pkg-config libjansson-dev libyaml-dev libcurl4-openssl-dev
        libssl-dev zlib1g-dev liblinear-dev libvectorscan-dev libcmocka-dev) ;;
    demo) packages+=(ca-certificates python3 python3-venv)
        venv=true ;;
    test) packages+=(ca-certificates python3 python3-venv gcc-aarch64-linux-gnu libc6-dev-arm64-cross libsimde-dev)
        venv=true pytest=true ;;
    sanitizers) packages+=(clang llvm libclang-rt-dev) ;;
    lint) packages+=(clang-format git python3) ;;
    *) echo "setup.sh: got '$group', expected build, demo, test, sanitizers or lint" >&2; exit 2 ;;
    esac
done

installed() {
    if [ "$1" = libclang-rt-dev ]; then # its name carries clang's version
        dpkg-query -W -f='${db:Status-Abbrev}\n' 'libclang-rt-*-dev' 2>/dev/null | grep -q '^ii'
    else
        dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
    fi
}

install() {
    local sudo='' i
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "setup.sh: not root and no sudo; as root, run:
    apt-get install --no-install-recommends $*" >&2; return 1; }
        sudo=sudo
    fi
    echo "installing: $*"
    $sudo apt-get update -qq || { echo "setup.sh: apt-get update failed (see above); still missing: $*" >&2; return 1; }
    local names=("$@")
    for i in "${!names[@]}"; do
        [ "${names[$i]}" = libclang-rt-dev ] || continue
        names[$i]=$(apt-cache depends clang | sed -nE 's/.*Depends: clang-([0-9]+)$/libclang-rt-\1-dev/p' | head -n 1)
    done
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}" >/dev/null ||
        { echo "setup.sh: apt-get install failed (see above): ${names[*]}" >&2; return 1; }
}

if command -v dpkg-query >/dev/null; then
    missing=()
    for package in $(printf '%s\n' "${packages[@]}" | sort -u); do
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        install "${missing[@]}"
        touch .installed # the Makefile configures anew
    fi
else
    echo "setup.sh: no Debian; going on as if the equivalents of these were here: ${packages[*]}" >&2
fi

# The system's own Python refuses pip on Debian, so everything from PyPI goes to a virtual environment.
if $venv && ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    python3 -m venv .venv
fi
if $pytest && ! .venv/bin/python -c 'import pytest' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check pytest ||
        { echo "setup.sh: pytest could not be fetched (see above)" >&2; exit 1; }
fi
