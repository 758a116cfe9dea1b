#!/usr/bin/env bash
# Tests under clang's sanitizers: every test with address and undefined behaviour (build-asan), those whose code runs on
# several threads with the thread sanitizer (build-tsan). `sanitize.sh asan` or `tsan` does one of the two.
# Needs tools/setup.sh test sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
THREADED='engine|pool|reasoner|remote|guard|governor|cache|eval_run|screen|learn|golden tiny'

build() { # FOLDER SANITIZERS
    [ -f "$1/build.ninja" ] || CC=clang meson setup "$1" --buildtype=debugoptimized -Db_sanitize="$2" -Db_lundef=false
    ninja -C "$1"
}

run_tests() { # FOLDER WRAPPER [TEST…]: slow machines under sanitizers get five times the usual time
    local folder=$1 wrapper="$2${SG_SHARED:+ env SG_SHARED=$(realpath "$SG_SHARED")}"
    shift 2
    meson test -C "$folder" --no-rebuild --print-errorlogs --timeout-multiplier 5 ${wrapper:+--wrapper "$wrapper"} "$@"
}

if SG_SMOLLM2=${SG_SMOLLM2:-$(tools/fetch_demo_model.sh)}; then
    export SG_SMOLLM2
else
    echo "without the demo model the tests that need it skip"
    unset SG_SMOLLM2
fi

failed=0
if [ "${1:-asan}" = asan ]; then
    build build-asan address,undefined
    run_tests build-asan '' || failed=1
    SG_BINARY=$PWD/build-asan/src/cli/safeguard SG_DOUBLE=$PWD/build-asan/tests/e2e/safeguard_double \
        .venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/e2e || failed=1
fi
if [ "${1:-tsan}" = tsan ]; then
    build build-tsan thread
    mapfile -t tests < <(meson test -C build-tsan --list | sed 's/.* \/ //' | grep -E "$THREADED")
    # clang 14's runtime does not survive the address randomisation of newer kernels
    wrapper=''
    if setarch -R true 2>/dev/null; then wrapper='setarch -R'; fi
    run_tests build-tsan "$wrapper" "${tests[@]}" || failed=1
fi
exit $failed
