#!/usr/bin/env bash
# Build the fuzz targets with clang and run each for FUZZ_SECONDS (default 600) from its corpus in tests/fuzz/corpus,
# FUZZ_JOBS (default: one per processor) side by side; or only those that are named: tools/fuzz.sh gguf harmony.
# New inputs are kept in build-fuzz/corpus, finds in build-fuzz/crashes. Ends with a table; status 1 when there is a find.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-fuzz
export FUZZ_SECONDS=${FUZZ_SECONDS:-600}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}

[ -f $build/build.ninja ] || CC=clang meson setup $build --buildtype=debugoptimized -Dfuzz=true -Dtests=false \
    -Db_sanitize=address,undefined -Db_lundef=false
ninja -C $build
mkdir -p $build/crashes $build/logs

names=("$@")
if [ $# = 0 ]; then
    for target in "$build"/tests/fuzz/fuzz_*; do
        if [ -f "$target" ] && [ -x "$target" ]; then names+=("${target##*/fuzz_}"); fi
    done
fi

fuzz() { # BUILD NAME; the exit status lies in the log's neighbour
    local status=0
    mkdir -p "$1/corpus/$2"
    "$1/tests/fuzz/fuzz_$2" -max_total_time="$FUZZ_SECONDS" -timeout=30 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$1/crashes/$2-" "$1/corpus/$2" "tests/fuzz/corpus/$2" >"$1/logs/$2.log" 2>&1 || status=$?
    echo $status >"$1/logs/$2.status"
}
export -f fuzz
printf '%s\n' "${names[@]}" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I '{}' bash -c 'fuzz "$@"' fuzz $build '{}'

bad=0
printf '\n%-16s %12s %9s %9s  %s\n' target runs runs/s coverage result
for name in "${names[@]}"; do
    log=$build/logs/$name.log
    field() { sed -nE "s/^stat::$1: +([0-9]+)\$/\1/p" "$log" | tail -n 1; }
    coverage=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2 || true)
    result=clean
    if [ "$(cat "$build/logs/$name.status")" != 0 ]; then
        bad=1
        result="FAILED, see $log"
    fi
    printf '%-16s %12s %9s %9s  %s\n' "$name" "$(field number_of_executed_units)" "$(field average_exec_per_sec)" \
        "$coverage" "$result"
done
exit $bad
