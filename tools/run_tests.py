#!/usr/bin/env python3
"""Run every test suite of a build folder and sum up: the programs through meson, then pytest, then two scripts.

usage: run_tests.py BUILD

Tests that need the demo model get it by SG_SMOLLM2 (fetched here unless it is set or there already); tests that need
golden models and data get their folder by SG_SHARED (default: shared/ beside the checkout). Without one of them they
skip, and say so. The last line is `N passed, N failed, N skipped` over the single tests of all suites; the exit
status is 1 when any failed or a suite could not run."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command, **options):
    print("$", " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **options)


def demo_model(env):
    if env.get("SG_SMOLLM2"):
        return
    done = subprocess.run([os.path.join(ROOT, "tools", "fetch_demo_model.sh")], stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        env["SG_SMOLLM2"] = done.stdout.strip()
    else:
        print("the demo model could not be fetched (see above): the tests that need it skip", flush=True)


def count_tap(text):
    """cmocka's TAP: a skipped test reads `not ok 10 # SKIP name`."""
    skipped = len(re.findall(r"^(?:not )?ok \d+ # SKIP", text, re.M))
    failed = len(re.findall(r"^not ok \d+ - ", text, re.M))
    return len(re.findall(r"^ok \d+ - ", text, re.M)), failed, skipped


def native(build, env):
    """One program a test of meson's; a program that fails without a failed test (it crashed, or ran out of time) counts
    as one failure, one that passes without TAP as one that passed."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    command = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs"]
    if env.get("SG_SHARED"):  # what meson.build sets would win over the caller's
        command += ["--wrapper", f"env SG_SHARED={env['SG_SHARED']}"]
    done = run(command, env=env)
    print(done.stdout)
    if not os.path.exists(log):
        return 0, 1, 0
    total = [0, 0, 0]
    for line in open(log):
        program = json.loads(line)
        text = program.get("stdout") or ""
        counts = count_tap(text)
        if program["result"] not in ("OK", "SKIP") and not counts[1]:
            counts = (counts[0], 1, counts[2])
        elif program["result"] == "OK" and not any(counts):
            counts = (1, 0, 0)
        total = [a + b for a, b in zip(total, counts)]
        for reason, name in re.findall(r"^(?:(.*)\n)?(?:not )?ok \d+ # SKIP (.*)$", text, re.M):
            print(f"{program['name']}: {name} skipped" + ("" if re.match(r"(not )?ok |1\.\.", reason) else f": {reason}"))
    if done.returncode and not total[1]:
        total[1] = 1
    return tuple(total)


def end_to_end(build, env):
    env = dict(env, SG_BINARY=os.path.abspath(os.path.join(build, "safeguard")),
               SG_DOUBLE=os.path.abspath(os.path.join(build, "tests", "e2e", "safeguard_double")))
    done = run([os.path.join(ROOT, ".venv", "bin", "python"), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                "tests/e2e"], env=env)
    print(done.stdout)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout[-400:])}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if done.returncode and not failed:
        failed = 1
    return counts.get("passed", 0), failed, counts.get("skipped", 0)


def script(*command):
    done = run(list(command))
    print(done.stdout)
    return (1, 0, 0) if done.returncode == 0 else (0, 1, 0)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = os.path.abspath(sys.argv[1])
    env = dict(os.environ)
    if env.get("SG_SHARED"):
        env["SG_SHARED"] = os.path.abspath(env["SG_SHARED"])
    demo_model(env)
    suites = [native(build, env), end_to_end(build, env), script("tools/check_includes.py"),
              script("tools/cross_arm64.sh")]
    passed, failed, skipped = (sum(column) for column in zip(*suites))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
