"""The cascade from the command line: rules, screen, certificate, modes, budget, forecast. The reasoner is a file of
verdicts (replay:), so that every stage is the real one."""

import json
import math
import os
import random
import signal
import subprocess
import time

import pytest

RULES = """version: 1
rules:
  - {name: followers, phrase: buy followers, action: violates}
  - {name: doubtful, phrase: investment, action: escalate, words: true}
  - {name: thanks, phrase: thanks a lot, action: clear}
"""

BENIGN = ["see you at {} tomorrow", "the meeting is at {} in my office", "can you send me the {} report",
          "happy birthday to your {}", "the {} is late again today", "dinner with {} is ready come home",
          "i will call {} after work", "what time is the {} tonight"]
BAD = ["win free {} cash now", "click this link to claim your {} prize", "free {} claim now cash",
       "you have won {} cash click now", "claim your free {} prize today", "click now to win a free {}",
       "urgent claim your {} link", "reply now {} winner of free cash"]
WORDS = ["noon", "anna", "station", "mother", "phone", "garden", "market", "budget", "peter", "film", "coffee", "train",
         "river", "bridge", "school", "doctor", "lunch", "house", "paper", "window"]


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def truth(tmp_path):
    """What the reasoner would say."""
    path = tmp_path / "truth.jsonl"
    rows = [{"text": "an investment", "violation": 1}, {"text": "hello", "violation": 0}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def guard(run, binary, policy, truth):
    """guard(text, *arguments) → the verdict"""

    def call(text, *arguments, status=None):
        done = run(binary, "check", "--policy", policy, "--reasoner", f"replay:{truth}", "--json", *arguments, text)
        assert done.stdout, done.stderr.decode()
        if status is not None:
            assert done.returncode == status, done.stderr.decode()
        return json.loads(done.stdout)

    return call


def refused(run, binary, *arguments, status=2):
    done = run(binary, *arguments)
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout == b""
    return done.stderr.decode()


# --- rules -------------------------------------------------------------------------------------------------------


def test_rules_decide(guard, rules):
    verdict = guard("now Buy  Followers", "--rules", rules, status=10)
    assert (verdict["decision"], verdict["stage"]) == ("violates", "rules")
    assert verdict["why"] == 'rule "followers" says that it violates'
    assert verdict["rule_matches"] == [
        {"rule": "followers", "action": "violates", "reading": "raw", "first_byte": 4, "bytes": 14}]
    assert guard("thanks a lot", "--rules", rules, status=0)["stage"] == "rules"
    escalated = guard("an investment", "--rules", rules, status=10)
    assert (escalated["stage"], escalated["model"]["name"]) == ("reasoner", "replay")
    assert "doubtful" in escalated["why"]


def test_hidden_phrase(guard, rules):
    verdict = guard("b\u200buy fol\u200blowers", "--rules", rules, status=10)
    assert verdict["stage"] == "rules" and verdict["rule_matches"][0]["reading"] == "folded"
    assert "hidden_characters" in verdict["signals"]


def test_rules_in_the_text(run, binary, policy, rules, truth):
    out = run(binary, "check", "--policy", policy, "--reasoner", f"replay:{truth}", "--rules", rules,
              "buy followers").stdout.decode()
    assert "VIOLATES" in out and "followers" in out and "bytes 0 to 13" in out


def test_rules_verb(run, binary, rules):
    done = run(binary, "guard", "rules", rules, "b.u.y f.o.l.l.o.w.e.r.s")
    assert done.returncode == 0
    out = done.stdout.decode()
    assert "3 rules: 1 violate, 1 escalate, 1 clear" in out and "these rules say: violates" in out
    assert "no rule decides" in run(binary, "guard", "rules", rules, "hello").stdout.decode()


@pytest.mark.parametrize("text, words", [
    ("rules:\n  - {name: x, regex: '(a', action: clear}\n", ["line 2", 'rule "x"', "refuses"]),
    ("rules:\n  - {phrase: a, action: block}\n", ["line 2", '"block"', "violates, escalate or clear"]),
    ("policy: other\nrules: []\n", ["belong to policy other"]),
    ("version: 9\n", ['version is "9"']),
])
def test_wrong_rules(run, binary, policy, truth, tmp_path, text, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    said = refused(run, binary, "check", "--policy", policy, "--reasoner", f"replay:{truth}", "--rules", path, "hello",
                   status=1)
    for word in [path.name, *words]:
        assert word in said


# --- the screen and its certificate ---------------------------------------------------------------------------------


def labelled_rows(n, seed):
    """Sentences with a word each; one in twenty benign ones borrows a word of spam."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        bad = i % 2
        text = draw.choice(BAD if bad else BENIGN).format(draw.choice(WORDS))
        if not bad and draw.random() < 0.05:
            text += " free"
        rows.append((f"{text} {draw.choice(WORDS)} {draw.choice(WORDS)} {i}", bad))
    return rows


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    """A policy, its labels, screen and certificate, made by the program itself."""
    binary = os.environ.get("SG_BINARY")
    if not binary:
        pytest.skip("SG_BINARY is not set")
    folder = tmp_path_factory.mktemp("cascade")
    policy = folder / "spam.md"
    policy.write_text("# Spam\n\nAnswer with exactly one character: 1 for spam, 0 for anything else.\n")
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    labels = folder / "spam.labels.jsonl"
    rows = labelled_rows(1200, seed=1)
    labels.write_text("".join(
        json.dumps({"text": text, "violation": bad, "policy_sha256": sha256(policy), "who": "anna", "role": "gold",
                    "time": 1767225600, "drawn": "uniform", "p_drawn": 0.5}) + "\n" for text, bad in rows))

    def call(*arguments):
        done = subprocess.run([os.path.abspath(binary), *map(str, arguments)], capture_output=True, timeout=300,
                              env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stderr.decode()

    call("screen", "train", "--policy", policy, "--labels", labels, "--out", folder / "spam.screen")
    call("screen", "certify", "--policy", policy, "--labels", labels, "--screen", folder / "spam.screen", "--rules", rules,
         "--miss", "0.05", "--out", folder / "spam.certificate")
    return folder


def sha256(path):
    import hashlib
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def parts(cascade):
    return ["--rules", cascade / "rules.yaml", "--screen", cascade / "spam.screen", "--certificate",
            cascade / "spam.certificate"]


@pytest.fixture
def traffic(cascade, tmp_path):
    """Rows that the screen has not seen, and a reasoner that knows the truth about them."""
    rows = labelled_rows(300, seed=2)
    path, truth = tmp_path / "rows.jsonl", tmp_path / "traffic-truth.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, (text, _) in enumerate(rows)))
    truth.write_text("".join(json.dumps({"text": text, "violation": bad}) + "\n" for text, bad in rows))
    return path, truth, [bad for _, bad in rows]


def batch(run, binary, cascade, path, truth, *arguments, status=0):
    """The verdicts of all rows; no features unless asked for."""
    done = run(binary, "check", "--policy", cascade / "spam.md", "--reasoner", f"replay:{truth}", "--batch", path,
               *arguments)
    assert done.returncode == status, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def test_cascade(run, binary, cascade, parts, traffic):
    path, truth, labels = traffic
    lines = batch(run, binary, cascade, path, truth, *parts, "--features", "3")
    cleared = [line for line in lines if line["stage"] == "screen" and line["violation"] is False]
    assert len(cleared) > 50 and len(cleared) < 200
    for line in cleared:
        assert line["screen"]["margin"] < line["screen"]["clear_below"]
        assert "at most 5 % of what violates is cleared, with confidence 95 %" in line["why"]
        assert 1 <= len(line["screen"]["features"]) <= 3 and line["screen"]["certificate_sha256"]
        assert line["provisional"] is False
    missed = sum(labels[int(line["id"])] for line in cleared)
    assert missed <= 0.05 * sum(labels) + 5  # the promise is 5 % of the violating rows; a few more by chance
    for line in lines:
        if line["stage"] == "reasoner":
            assert line["violation"] == bool(labels[int(line["id"])])
            assert line["options"]["guard"]["mode"] == "cascade"


def test_audit_is_drawn(run, binary, cascade, parts, traffic):
    path, truth, _ = traffic
    cleared = {line["id"] for line in batch(run, binary, cascade, path, truth, *parts) if line["stage"] == "screen"}
    lines = batch(run, binary, cascade, path, truth, *parts, "--audit", "0.5", "--audit-seed", "7")
    audited = {line["id"] for line in lines if line["audited"]}
    assert audited and audited < cleared
    assert abs(len(audited) - len(cleared) / 2) < 5 * math.sqrt(len(cleared) / 4)
    for line in lines:
        assert line["p_audited"] == 0.5
        assert line["stage"] == ("reasoner" if line["id"] in audited else line["stage"])
    again = batch(run, binary, cascade, path, truth, *parts, "--audit", "0.5", "--audit-seed", "7")
    assert {line["id"] for line in again if line["audited"]} == audited


def test_modes(run, binary, cascade, parts, traffic):
    path, truth, labels = traffic
    lines = batch(run, binary, cascade, path, truth, *parts, "--mode", "screen-only")
    escalated = [line for line in lines if line["violation"] is None]
    assert escalated and all(line["provisional"] and line["reason"] == "escalated" for line in escalated)
    assert all(line["stage"] != "reasoner" for line in lines)
    shadow = batch(run, binary, cascade, path, truth, *parts, "--mode", "shadow")
    assert all(line["stage"] == "reasoner" and line["violation"] == bool(labels[int(line["id"])]) for line in shadow)
    would = {line["id"] for line in shadow if "the screen would have cleared it" in line["why"]}
    assert would == {line["id"] for line in lines if line["violation"] is False}
    alone = batch(run, binary, cascade, path, truth, *parts, "--mode", "reasoner-only")
    assert all(line["screen"] is None and line["why"] is None for line in alone)


def test_what_belongs_together(run, binary, cascade, parts, tmp_path, truth):
    command = ["check", "--policy", cascade / "spam.md", "--reasoner", f"replay:{truth}"]
    assert "rules" in refused(run, binary, *command, *parts[2:], "hello", status=1)  # certified with rules
    other = tmp_path / "other.md"
    other.write_text("# Spam\n\nAnswer with exactly one character: 1 for spam, 0 otherwise.\n")
    assert "policy version" in refused(run, binary, "check", "--policy", other, "--reasoner", f"replay:{truth}", *parts,
                                       "hello", status=1)
    damaged = tmp_path / "damaged.screen"
    data = bytearray((cascade / "spam.screen").read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    done = run(binary, *command, "--json", "--rules", cascade / "rules.yaml", "--screen", damaged, "hello")
    assert done.returncode == 0 and b"everything escalates" in done.stderr
    assert json.loads(done.stdout)["stage"] == "reasoner"


def test_resume_keeps_what_the_screen_decided(run, binary, cascade, parts, traffic, tmp_path):
    path, truth, _ = traffic
    out = tmp_path / "out.jsonl"
    batch(run, binary, cascade, path, truth, *parts, "--out", out)
    before = out.read_bytes()
    done = run(binary, "check", "--policy", cascade / "spam.md", "--reasoner", f"replay:{truth}", "--batch", path, *parts,
               "--out", out, "--resume")
    assert done.returncode == 0 and b"(300 answered before)" in done.stderr
    assert out.read_bytes() == before
    # Another guard is another run.
    done = run(binary, "check", "--policy", cascade / "spam.md", "--reasoner", f"replay:{truth}", "--batch", path,
               *parts[:4], "--out", out, "--resume")
    assert done.returncode == 0 and b"answered before" not in done.stderr


def test_cache(run, binary, policy, truth, tmp_path):
    path = tmp_path / "same.jsonl"
    path.write_text('{"id":"a","text":"hello"}\n' + "".join(f'{{"id":"x{i}","text":"other {i}"}}\n' for i in range(600))
                    + '{"id":"b","text":"hello"}\n')
    done = run(binary, "check", "--policy", policy, "--reasoner", f"replay:{truth}", "--cache", "1", "--batch", path)
    lines = {line["id"]: line for line in map(json.loads, done.stdout.decode().splitlines())}
    assert (lines["a"]["stage"], lines["b"]["stage"]) == ("reasoner", "cache")
    assert lines["b"]["violation"] is False and lines["b"]["content_sha256"] == lines["a"]["content_sha256"]


# --- budget -----------------------------------------------------------------------------------------------------------


def test_budget(run, binary, cascade, parts, traffic, tmp_path):
    path, truth, _ = traffic
    lines = batch(run, binary, cascade, path, truth, *parts[2:4], "--reasoner-budget", "6/min", "--max-wait", "0.2")
    waiting = [line for line in lines if line["provisional"]]
    assert len(waiting) >= 290  # a few calls were saved up, and a few came in time
    for line in waiting:
        assert line["violation"] is None and line["decision"] == "undecided"
        assert line["reason"] == "escalated, waiting for the reasoner"
    # They are no answers: the next run asks again.
    out = tmp_path / "out.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run(binary, "check", "--policy", cascade / "spam.md", "--reasoner", f"replay:{truth}", "--batch", path,
               *parts[2:4], "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert not any(json.loads(line)["provisional"] for line in out.read_text().splitlines())


def test_interrupt_while_waiting(binary, cascade, traffic, env, tmp_path):
    path, truth, _ = traffic
    out = tmp_path / "waiting.jsonl"
    process = subprocess.Popen([str(a) for a in (binary, "check", "--policy", cascade / "spam.md", "--reasoner",
                                                 f"replay:{truth}", "--batch", path, "--out", out, "--reasoner-budget",
                                                 "1/h")], stderr=subprocess.PIPE, env=env)
    until = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)  # the one call of this hour is used up with the first line
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130 and b"interrupted" in said


@pytest.mark.parametrize("arguments, words", [
    (["--reasoner-budget", "fast"], "--reasoner-budget: expected a number"),
    (["--reasoner-budget", "-1/s"], "--reasoner-budget: expected a number"),
    (["--platform-compute", "0.16"], "--platform-compute and --platform-tokens go together"),
    (["--certificate", "c"], "--certificate goes with --screen"),
    (["--mode", "screen-only"], "needs --screen or --rules"),
    (["--mode", "fast"], "--mode"),
    (["--audit", "2"], "--audit"),
    (["--reasoner-model", "m"], "do not go with replay:"),
])
def test_wrong_use(run, binary, policy, truth, arguments, words):
    assert words in refused(run, binary, "check", "--policy", policy, "--reasoner", f"replay:{truth}", *arguments, "hello")


def test_one_policy(run, binary, policy, tmp_path, rules, truth):
    other = tmp_path / "other.md"
    other.write_text("# Other\n\nAnswer 1 or 0.\n")
    assert "say --policy once" in refused(run, binary, "check", "--policy", policy, "--policy", other, "--reasoner",
                                          f"replay:{truth}", "--rules", rules, "hello")


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replay_of_verdicts(run, binary, policy, truth, tmp_path, double):
    """What check has written is what replay: repeats."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id":"1","text":"BAD one"}\n{"id":"2","text":"a good one"}\n')
    (tmp_path / "m.gguf").write_bytes(b"model")
    first = run(double, "check", "--policy", policy, "--model", tmp_path / "m.gguf", "--batch", rows).stdout
    (tmp_path / "verdicts.jsonl").write_bytes(first)
    again = run(binary, "check", "--policy", policy, "--reasoner", f"replay:{tmp_path / 'verdicts.jsonl'}", "--batch",
                rows)
    assert again.returncode == 0, again.stderr
    for before, after in zip(map(json.loads, first.splitlines()), map(json.loads, again.stdout.splitlines())):
        for field in ("id", "violation", "p_violation", "reasoning", "output", "model", "content_sha256"):
            assert before[field] == after[field]


def test_replay_of_categories(run, binary, policy, tmp_path):
    import gzip
    path = tmp_path / "rows.jsonl.gz"
    rows = [{"text": "one", "labels": {"hate": 1, "spam": 0}}, {"text": "two", "labels": {"hate": 0}}]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    def say(text, category=""):
        done = run(binary, "check", "--policy", policy, "--reasoner", f"replay:{path}{category}", "--json", text)
        return json.loads(done.stdout)

    assert say("one")["violation"] is True and say("two")["violation"] is False
    assert say("one", "#spam")["violation"] is False
    unknown = say("two", "#spam")
    assert unknown["violation"] is None and unknown["reason"] == "the replayed line has no decision"
    assert say("three")["reason"] == "not in the replayed file"


@pytest.mark.parametrize("content, words", [(b"", "no line says anything"), (b"[1]\n", "line 1: not a JSON object"),
                                            (b'{"a":1}\n', "no line says anything")])
def test_replay_of_nothing(run, binary, policy, tmp_path, content, words):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert words in refused(run, binary, "check", "--policy", policy, "--reasoner", f"replay:{path}", "hello", status=1)


# --- forecast ---------------------------------------------------------------------------------------------------------


def test_forecast(run, binary, cascade, parts, traffic):
    path, truth, _ = traffic
    lines = batch(run, binary, cascade, path, truth, *parts)
    done = run(binary, "guard", "forecast", "--policy", cascade / "spam.md", *parts, "--traffic", path, "--audit", "0.1",
               "--seconds-per-call", "2", "--tokens-per-call", "500", "--peak", "50", "--json")
    assert done.returncode == 0, done.stderr
    forecast = json.loads(done.stdout)
    count = {stage: sum(line["stage"] == stage for line in lines) for stage in ("screen", "reasoner")}
    assert forecast["contents"] == 300
    assert forecast["cleared_by_screen"]["n"] + forecast["flagged_by_screen"]["n"] == count["screen"]
    assert forecast["escalated"]["n"] == count["reasoner"]
    assert forecast["escalated"]["low"] < forecast["escalated"]["share"] < forecast["escalated"]["high"]
    calls = forecast["calls_per_content"]
    assert calls["mean"] == pytest.approx((count["reasoner"] + 0.1 * forecast["cleared_by_screen"]["n"]) / 300)
    assert calls["low"] < calls["mean"] < calls["high"]
    peak = forecast["peak"]
    assert peak["calls_per_second"] == pytest.approx(50 * calls["high"])
    assert peak["calls_in_flight"] == pytest.approx(100 * calls["high"])
    assert peak["tokens_per_second"] == pytest.approx(25000 * calls["high"])
    text = run(binary, "guard", "forecast", "--policy", cascade / "spam.md", *parts, "--traffic", path).stdout.decode()
    assert "300 contents" in text and "cleared by the screen" in text


def test_forecast_measures(run, binary, cascade, parts, traffic):
    path, truth, _ = traffic
    done = run(binary, "guard", "forecast", "--policy", cascade / "spam.md", *parts, "--traffic", path, "--measure", "10",
               "--reasoner", f"replay:{truth}", "--json")
    forecast = json.loads(done.stdout)
    assert forecast["seconds_per_call"]["measured"] == 10
    assert forecast["tokens_per_call"] is None  # the file has none
    assert done.stderr == b""  # progress is for terminals


def test_forecast_wrong_use(run, binary, policy, truth):
    assert "--traffic" in refused(run, binary, "guard", "forecast", "--policy", policy)
    assert "--policy" in refused(run, binary, "guard", "forecast", "--traffic", truth)
    assert "exclude" in refused(run, binary, "guard", "forecast", "--policy", policy, "--traffic", truth, "--measure", "3",
                                "--seconds-per-call", "1")


# --- a cheaper reasoner in front of the last one ----------------------------------------------------------------------


def test_a_cheaper_reasoner(run, binary, cascade, traffic, tmp_path):
    """Certified behind the screen by what it said of the labelled rows, then asked first."""
    path, truth, labels = traffic
    draw = random.Random(3)

    def verdict(text, bad):
        return {"text": text, "violation": bool(bad), "decision": "violates" if bad else "does_not_violate",
                "p_violation": draw.betavariate(8, 2) if bad else draw.betavariate(2, 8),
                "model": {"name": "small", "sha256": None}}

    known = [json.loads(line) for line in (cascade / "spam.labels.jsonl").read_text().splitlines()]
    said = [verdict(row["text"], row["violation"]) for row in known if "text" in row]
    judged = tmp_path / "small.jsonl"
    import hashlib
    for line in said:
        line["content_sha256"] = hashlib.sha256(line["text"].encode()).hexdigest()
    judged.write_text("".join(json.dumps(line) + "\n" for line in said))
    certificate = tmp_path / "both.certificate"
    own = tmp_path / "own.labels.jsonl"  # attempts are paid for in a file of their own
    own.write_bytes((cascade / "spam.labels.jsonl").read_bytes())
    base = ["screen", "certify", "--policy", cascade / "spam.md", "--labels", own, "--screen", cascade / "spam.screen"]
    first = tmp_path / "first.certificate"
    for arguments in ([*base, "--miss", "0.1", "--out", first, "--spend", "0.5"],
                      [*base, "--miss", "0.1", "--verdicts", judged, "--certificate", first, "--out", certificate,
                       "--spend", "1"]):
        done = run(binary, *arguments)
        assert done.returncode == 0, done.stderr.decode()
    small = tmp_path / "small-traffic.jsonl"
    rows = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    small.write_text("".join(json.dumps(verdict(text, bad)) + "\n" for text, bad in zip(rows, labels)))
    screen = ["--screen", cascade / "spam.screen", "--certificate", certificate]
    lines = batch(run, binary, cascade, path, truth, *screen, "--small-model", f"replay:{small}")
    alone = batch(run, binary, cascade, path, truth, *screen)
    by_small = [line for line in lines if line["model"]["name"] == "small"]
    assert by_small and all(line["violation"] is False and "p_violation" in line["why"] for line in by_small)
    assert all(line["p_violation"] < 0.9 for line in by_small)
    asked = {line["id"] for line in lines if line["model"]["name"] == "replay"}
    assert asked < {line["id"] for line in alone if line["stage"] == "reasoner"}
