#!/usr/bin/env bash
# arm64 runs on the portable kernels for now: compile what has no foreign library (base but file access, kernels) with
# the cross compiler, so that it stays buildable.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for file in src/base/{status,buffer,pool,utf8}.c src/weights/dequant.c src/kernels/{kernels_scalar,pack,select}.c \
    src/model/{kv,matrix,forward,attention,gptoss,llama}.c src/engine/{engine,sampler}.c; do
    aarch64-linux-gnu-gcc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -ffp-contract=off -Iinclude -Isrc -c "$file" \
        -o "$out/$(basename "$file").o"
done
echo "arm64: cross-compiled"
