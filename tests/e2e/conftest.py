"""What the end-to-end tests share.

SG_BINARY  the program under test
SG_DOUBLE  the same command line on a stand-in for model and reasoner (double_reasoner.c)
SG_SHARED  folder of golden models and data; tests that need it skip without it
"""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _program(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} is not set")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{variable}={path} cannot be run")
    return os.path.abspath(path)


@pytest.fixture
def binary():
    return _program("SG_BINARY")


@pytest.fixture
def double():
    return _program("SG_DOUBLE")


@pytest.fixture
def shared():
    folder = pathlib.Path(os.environ.get("SG_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder of shared test material at {folder} (SG_SHARED)")
    return folder


@pytest.fixture
def tiny_model(shared):
    """A random-weight gpt-oss with a byte vocabulary: real runs, meaningless verdicts."""
    path = shared / "golden/tiny-a/tiny-a-bf16.gguf"
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


@pytest.fixture
def env(tmp_path):
    """A clean environment: nothing of the user's own models, settings or network."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH")
            if name in os.environ}
    return {**kept, "HOME": str(home), "SAFEGUARD_CACHE": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def run(env):
    """run(program, *arguments, stdin=b"", env={…}) → CompletedProcess with bytes; sanitizer reports fail the test."""

    def call(program, *arguments, stdin=b"", timeout=120, **extra):
        done = subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout,
                              env={**env, **{k: str(v) for k, v in extra.items()}})
        for mark in (b"AddressSanitizer", b"runtime error:", b"LeakSanitizer"):
            assert mark not in done.stderr, done.stderr.decode(errors="replace")
        return done

    return call


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "spam.md"
    path.write_text("# Spam\n\nAnswer with exactly one character: 1 for spam, 0 for anything else.\n")
    return path


@pytest.fixture
def batch(run, double, policy, tmp_path):
    """batch(bytes, name, …) judges the rows with the stand-in; it answers at once and repeats the text in "output"."""
    model = tmp_path / "stand-in.gguf"
    model.write_bytes(b"model")

    def call(rows, name="rows.jsonl", *arguments, **extra):
        path = tmp_path / name
        path.write_bytes(rows.encode() if isinstance(rows, str) else rows)
        done = run(double, "check", "--policy", policy, "--model", model, "--batch", path, *arguments, **extra)
        done.rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        return done

    return call
