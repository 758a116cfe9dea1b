#!/usr/bin/env python3
"""Run every test suite of a build folder and sum up: cmocka programs through meson, then pytest.

usage: run_tests.py BUILD
The last line is `N passed, N failed, N skipped` over single tests of all suites; the exit status is 1 when any
failed or a suite could not run."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command, **options):
    print("$", " ".join(command), flush=True)
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          **options)


def native(build):
    """cmocka programs print one line a test; a program that dies without a summary counts as one failure."""
    log = os.path.join(build, "meson-logs", "testlog.txt")
    done = run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs"], cwd=ROOT)
    print(done.stdout)
    text = open(log, errors="replace").read()
    passed = len(re.findall(r"^\[       OK \]", text, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \] \w+$", text, re.M))
    failed = len(re.findall(r"^\[  FAILED  \] \w+$", text, re.M))
    for reason in sorted(set(re.findall(r"^skipped: .*$", text, re.M))):
        print(reason)
    if done.returncode and not failed:
        failed = 1
    return passed, failed, skipped


def end_to_end(build):
    env = dict(os.environ, SG_BINARY=os.path.abspath(os.path.join(build, "safeguard")),
               SG_DOUBLE=os.path.abspath(os.path.join(build, "tests", "e2e", "safeguard_double")),
               SG_SHARED=os.environ.get("SG_SHARED", os.path.join(ROOT, "..", "shared")))
    done = run([os.path.join(ROOT, ".venv", "bin", "python"), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                "tests/e2e"], cwd=ROOT, env=env)
    print(done.stdout)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout[-400:])}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if done.returncode and not failed:
        failed = 1
    return counts.get("passed", 0), failed, counts.get("skipped", 0)


def script(*command):
    done = run(list(command), cwd=ROOT)
    print(done.stdout)
    return (1, 0, 0) if done.returncode == 0 else (0, 1, 0)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = sys.argv[1]
    suites = [native(build), end_to_end(build), script("tools/check_includes.py"), script("tools/cross_arm64.sh")]
    passed, failed, skipped = (sum(column) for column in zip(*suites))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
