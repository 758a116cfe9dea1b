#!/usr/bin/env bash
# run.sh BINARY: speed on a random-weight model of the 20b shape, beside llama.cpp where LLAMA_BENCH names its
# llama-bench (other peers: bench/compare.py). The file (12 GB) is made in BENCH_FOLDER (default: a folder below /tmp) and deleted unless KEEP=1.
# ROUNDS (default 3) interleaved rounds. See docs/performance.md.
set -euo pipefail
[ $# = 1 ] && [ -x "$1" ] || { echo "usage: bench/run.sh BINARY" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
folder=${BENCH_FOLDER:-$(mktemp -d)}
model=$folder/random-20b.gguf
mkdir -p "$folder"
[ "${KEEP:-0}" = 1 ] || trap 'rm -f "$model"; rmdir --ignore-fail-on-non-empty "$folder"' EXIT
[ -e "$model" ] || "$1" dev make-model --shape 20b "$model"
if [ -n "${LLAMA_BENCH:-}" ]; then
    "$here/compare.py" --safeguard "$1" --model "$model" --rounds "${ROUNDS:-3}" --peer "llama.cpp=$LLAMA_BENCH"
else
    "$1" bench --model "$model"
fi
