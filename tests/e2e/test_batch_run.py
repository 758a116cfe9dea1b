"""The run of a batch: output file, resume, interruption, progress."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import time

import pytest


@pytest.fixture
def job(double, policy, tmp_path, env):
    """A batch that can be run, resumed, interrupted: job(*arguments) → (exit status, rows of the output file)."""

    class Job:
        rows = tmp_path / "rows.jsonl"
        out = tmp_path / "out.jsonl"
        model = tmp_path / "m.gguf"
        stderr = b""

        def write(self, *texts):
            self.rows.write_text("".join(json.dumps({"id": f"r{i}", "text": t}) + "\n" for i, t in enumerate(texts)))

        def command(self, *arguments, policies=(policy,)):
            chosen = [a for p in policies for a in ("--policy", p)]
            return [str(a) for a in (double, "check", *chosen, "--model", self.model, "--batch", self.rows, "--out",
                                     self.out, *arguments)]

        def __call__(self, *arguments, **options):
            done = subprocess.run(self.command(*arguments, **options), capture_output=True, env=env, timeout=60)
            self.stderr = done.stderr.decode()
            return done.returncode, self.lines()

        def lines(self):
            text = self.out.read_text()
            assert text == "" or text.endswith("\n")
            return [json.loads(line) for line in text.splitlines()]

    job = Job()
    job.model.write_bytes(b"model")
    return job


def ids(lines):
    return [line["id"] for line in lines]


def test_output_file(job):
    job.write("a", "BAD", "UNSURE", "REVIEW")
    status, lines = job()
    assert status == 0
    assert [(l["id"], l["decision"], l["needs_review"]) for l in lines] == [
        ("r0", "does_not_violate", False), ("r1", "violates", False), ("r2", "undecided", False),
        ("r3", "does_not_violate", True)]
    assert "4 of 4 rows" in job.stderr and "1 verdicts violate" in job.stderr and "1 need review" in job.stderr


def test_quiet_says_nothing(job):
    job.write("a")
    assert job("--quiet")[0] == 0
    assert job.stderr == ""


def test_file_with_something_in_it_is_not_overwritten_by_accident(job):
    job.write("a")
    job.out.write_text("precious\n")
    assert subprocess.run(job.command(), capture_output=True).returncode == 2
    assert job.out.read_text() == "precious\n"
    status, lines = job("--overwrite")
    assert (status, ids(lines)) == (0, ["r0"])


def test_resume_does_not_judge_twice(job):
    job.write("a", "b", "c")
    assert job()[0] == 0
    before = job.out.read_bytes()
    status, lines = job("--resume")
    assert status == 0 and job.out.read_bytes() == before
    assert "3 answered before" in job.stderr


def test_resume_without_a_file_starts_one(job):
    job.write("a", "b")
    status, lines = job("--resume")
    assert (status, ids(lines)) == (0, ["r0", "r1"])


@pytest.mark.parametrize("cut", [1, 20, "newline"])
def test_resume_repairs_a_torn_last_line(job, cut):
    job.write("a", "b", "c")
    job()
    whole = job.out.read_bytes()
    first, second, _ = whole.splitlines(keepends=True)
    job.out.write_bytes(first + (second[:-1] if cut == "newline" else second[:cut]))
    status, lines = job("--resume")
    assert (status, ids(lines)) == (0, ["r0", "r1", "r2"])
    assert "1 answered before" in job.stderr
    # The times are of this run, everything else is as it was.
    before = [json.loads(line) for line in whole.splitlines()]
    assert [{**line, "ms": None} for line in lines] == [{**line, "ms": None} for line in before]


def test_failed_rows_are_judged_again_and_land_in_their_place(job):
    job.write("a", "FAIL", "c")
    status, lines = job()
    assert status == 3 and "error" in lines[1]
    job.write("a", "now good", "c")
    status, lines = job("--resume")
    assert status == 0
    assert ids(lines) == ["r0", "r1", "r2"] and lines[1]["output"] == "now good"
    assert "2 answered before" in job.stderr


def test_rows_added_in_front_come_in_input_order(job):
    job.write("a", "b")
    job()
    old = job.rows.read_text()
    job.rows.write_text('{"id":"new","text":"n"}\n' + old)
    status, lines = job("--resume")
    assert (status, ids(lines)) == (0, ["new", "r0", "r1"])


@pytest.mark.parametrize("change", [("--effort", "high"), ("--seed", "7"), ("--temperature", "0.5"),
                                    ("--precision", "exact"), ("--reasoning-budget", "9"), ("--context", "4096"),
                                    ("--judge", "all")])
def test_other_options_are_another_question(job, change):
    job.write("a", "b")
    job()
    status, lines = job("--resume", *change)
    assert status == 0
    assert ids(lines) == ["r0", "r1", "r0", "r1"]  # the old answers stay, in front
    status, lines = job("--resume", *change)
    assert len(lines) == 4 and "2 answered before" in job.stderr


def test_other_model_or_policy_is_another_question(job, policy, tmp_path):
    job.write("a")
    job()
    job.model.write_bytes(b"another")
    assert ids(job("--resume")[1]) == ["r0", "r0"]
    policy.write_text(policy.read_text() + "\nMore.\n")
    assert ids(job("--resume")[1]) == ["r0", "r0", "r0"]


def test_the_same_id_with_another_content_is_judged_anew(job):
    job.write("a", "b", "c")
    job()
    job.write("a", "BAD", "c")
    status, lines = job("--resume")
    assert "2 answered before" in job.stderr
    assert [(line["id"], line["decision"]) for line in lines] == [
        ("r0", "does_not_violate"), ("r1", "violates"), ("r2", "does_not_violate")]
    job.write("BAD", "a", "c")  # as when a row is put in front and ids are numbers
    assert [line["decision"] for line in job("--resume")[1]] == ["violates", "does_not_violate", "does_not_violate"]


def test_several_policies(job, policy, tmp_path):
    second = tmp_path / "hate.md"
    second.write_text("Answer 1 for hate, else 0.")
    job.write("a", "FAIL")
    both = (policy, second)
    status, lines = job(policies=both)
    assert status == 3
    assert [(l["id"], l["policy"]["id"]) for l in lines] == [("r0", "spam"), ("r0", "hate"), ("r1", "spam"),
                                                             ("r1", "hate")]
    job.write("a", "b")
    status, lines = job("--resume", policies=both)
    assert status == 0 and len(lines) == 4 and not any("error" in l for l in lines)
    third = tmp_path / "third.md"
    third.write_text("Answer 1 for ads, else 0.")
    status, lines = job("--resume", policies=(*both, third))
    assert [(l["id"], l["policy"]["id"]) for l in lines] == [(i, p) for i in ("r0", "r1")
                                                             for p in ("spam", "hate", "third")]


def test_resume_on_a_file_that_is_not_ours(job):
    job.write("a")
    job.out.write_text("dear diary\nmore\n")
    done = subprocess.run(job.command("--resume"), capture_output=True)
    assert done.returncode == 1 and b"line 1" in done.stderr
    assert job.out.read_text() == "dear diary\nmore\n"


def test_two_runs_on_one_file(job):
    job.write("a")
    with open(job.out, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = subprocess.run(job.command(), capture_output=True)
    assert done.returncode == 2 and b"another run" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_whole_lines_and_resume_goes_on(job, number):
    job.write("a", "b", "SLOW", "d")
    running = subprocess.Popen(job.command(), stderr=subprocess.PIPE)
    deadline = time.time() + 20
    while time.time() < deadline and not (job.out.exists() and job.out.read_bytes().count(b"\n") == 2):
        time.sleep(0.02)
    started = time.time()
    running.send_signal(number)
    _, stderr = running.communicate(timeout=20)
    assert time.time() - started < 5  # the check in hand was cancelled, not waited for
    assert running.returncode == 130
    assert b"--resume" in stderr
    assert ids(job.lines()) == ["r0", "r1"]
    job.write("a", "b", "c", "d")
    status, lines = job("--resume")
    assert (status, ids(lines)) == (0, ["r0", "r1", "r2", "r3"])


def test_kill_in_the_middle_loses_nothing_that_was_answered(job):
    job.write(*["PAUSE"] * 30)
    running = subprocess.Popen(job.command(), stderr=subprocess.DEVNULL)
    while not (job.out.exists() and job.out.read_bytes().count(b"\n") >= 5):
        time.sleep(0.01)
    running.kill()
    running.wait()
    n = len(job.lines())
    status, lines = job("--resume")
    assert status == 0 and ids(lines) == [f"r{i}" for i in range(30)]
    assert f"({n} answered before)" in job.stderr


def test_lines_appear_as_results_become_ready(job):
    job.write("a", "SLOW")
    running = subprocess.Popen(job.command()[:-2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert json.loads(running.stdout.readline())["id"] == "r0"
    assert running.poll() is None
    running.kill()
    running.communicate()


def test_full_disk_ends_the_run_on_a_whole_line(job):
    job.write(*["x" * 300] * 20)
    done = subprocess.run(["bash", "-c", 'ulimit -f 4; trap "" XFSZ; exec "$@"', "-", *job.command()],
                          capture_output=True)
    assert done.returncode == 1 and b"write failed" in done.stderr
    n = len(job.lines())
    assert 0 < n < 20
    status, lines = job("--resume")
    assert status == 0 and len(lines) == 20 and f"({n} answered before)" in job.stderr


def test_reader_that_goes_away_is_an_error_not_a_crash(job):
    job.write(*["x"] * 5000)
    done = subprocess.run(["bash", "-c", '"$@" | head -n 1 >/dev/null; exit "${PIPESTATUS[0]}"', "-",
                           *job.command()[:-2]], capture_output=True)
    assert done.returncode == 1 and b"standard output" in done.stderr


def run_on_terminal(command, env):
    """Standard error on a terminal: what it saw."""
    primary, secondary = pty.openpty()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=secondary, env=env)
    os.close(secondary)
    seen = b""
    while True:
        try:
            piece = os.read(primary, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(primary)
    running.wait()
    return seen.decode()


def test_progress_bar_only_on_a_terminal(job, env):
    job.write(*["PAUSE"] * 12)
    seen = run_on_terminal(job.command(), {**env, "TERM": "xterm"})
    assert "of 12 rows" in seen and "rows/s" in seen and "left" in seen and "\r\033[K" in seen
    seen = run_on_terminal(job.command("--overwrite", "--quiet"), {**env, "TERM": "xterm"})
    assert seen == ""
    job("--overwrite")
    assert "rows/s" not in job.stderr and "\033" not in job.stderr
