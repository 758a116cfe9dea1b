#!/usr/bin/env bash
# Install the Debian packages that a task needs, if any is missing: setup.sh build|test|sanitizers|lint …
# Python packages for tests go to a virtual environment in the build folder's neighbour .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
python=false
for group in build "$@"; do
    case $group in
    build) packages+=(gcc libc6-dev make meson ninja-build pkg-config libjansson-dev libyaml-dev libcurl4-openssl-dev
        libssl-dev zlib1g-dev libcmocka-dev ca-certificates python3) ;;
    test) packages+=(python3-venv git gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
        python=true ;;
    sanitizers) packages+=(clang llvm libclang-rt-dev) ;;
    lint) packages+=(clang-format) ;;
    *) echo "setup.sh: got '$group', expected build, test, sanitizers or lint" >&2; exit 2 ;;
    esac
done

missing=()
for package in "${packages[@]}"; do
    if [ "$package" = libclang-rt-dev ] && dpkg -l 'libclang-rt-*-dev' 2>/dev/null | grep -q '^ii'; then continue; fi
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    sudo=''
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    for i in "${!missing[@]}"; do # its name carries clang's version
        if [ "${missing[$i]}" = libclang-rt-dev ]; then
            missing[$i]=$(apt-cache depends clang | sed -nE 's/.*Depends: clang-([0-9]+)$/libclang-rt-\1-dev/p' | head -n 1)
        fi
    done
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if $python && ! .venv/bin/python -c 'import pytest' 2>/dev/null; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check pytest
fi
