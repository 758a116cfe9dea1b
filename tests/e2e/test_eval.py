"""safeguard eval: figures, configurations, journal, the closed test split, reports."""

import csv
import html.parser
import io
import json
import math
import os
import pty
import random
import signal
import subprocess
import time

import pytest

from chat_server import ONE, ZERO, ChatServer, answer

HOSTILE = "</script></pre><script>alert(1)</script><img src=x onerror=alert(1)> \u202e\u200b\x1b[31m"


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def ev(run, double, tmp_path):
    """ev(*arguments) runs eval in tmp_path without progress; done.report is its JSON when --json was given."""
    (tmp_path / "m.gguf").write_bytes(b"model")

    def call(*arguments, **extra):
        done = run(double, "eval", *arguments, **extra)
        done.text = done.stdout.decode()
        done.errors = done.stderr.decode()
        done.report = json.loads(done.text) if "--json" in arguments and done.text else None
        return done

    return call


@pytest.fixture
def data(tmp_path):
    """data(rows, name) → path of a data file."""

    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text(rows if isinstance(rows, str) else jsonl(rows))
        return path

    return write


def row(i, truth, text=None, **more):
    labels = {} if truth is None else {"toxic": truth}
    return {"id": f"r{i}", "text": text or f"text {i}", "labels": labels, **more}


# The ids of rows whose text alone puts them into the dev split; enough for every test here.
def everything(tmp_path):
    return ("--split", "all", "--open-test", "--record", tmp_path / "openings.jsonl")


def figures(report, config=0, task=0):
    return {k: v["value"] for k, v in report["configurations"][config]["tasks"][task]["figures"].items()}


def test_figures_of_predictions_by_hand(ev, data, tmp_path):
    truth = [1, 1, 1, 0, 0, 0, 0, None]
    said = [True, True, False, True, False, False, None, True]
    rows = data([row(i, t) for i, t in enumerate(truth)])
    predictions = data([{"id": f"r{i}", "violation": v} for i, v in enumerate(said)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    assert done.returncode == 0, done.errors
    got = figures(done.report)
    assert got["precision"] == pytest.approx(2 / 3)
    assert got["recall"] == pytest.approx(2 / 3)
    assert got["f1"] == pytest.approx(2 / 3)
    assert got["fpr"] == pytest.approx(1 / 4)
    assert got["undecided"] == pytest.approx(1 / 7)
    task = done.report["configurations"][0]["tasks"][0]
    assert task["rows"] == 7 and task["violating"] == 3  # the unknown row is in neither
    assert task["confusion"] == {"tp": 2, "fp": 1, "fn": 1, "tn": 2, "undecided_violating": 0, "undecided_other": 1}
    assert got["auprc"] is None and task["figures"]["auprc"]["why"] == "no scores"
    assert done.report["tasks"] == [{"label": "toxic", "rows": 7, "violating": 3, "unknown": 1}]
    assert task["missed_early"]["why"] == "stages unknown"


def test_undecided_violations_are_not_found_but_held(ev, data, tmp_path):
    rows = data([row(i, 1) for i in range(4)])
    predictions = data([{"id": f"r{i}", "violation": v} for i, v in enumerate([True, None, None, False])], "p.jsonl")
    got = figures(ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path)).report)
    assert (got["recall"], got["held"], got["undecided"]) == (0.25, 0.75, 0.5)


def test_an_unknown_stage_is_no_clearing_that_did_not_happen(ev, data, tmp_path):
    rows = data([row(i, 1) for i in range(4)])
    predictions = data([{"id": f"r{i}", "violation": v} for i, v in enumerate([False, False, None, None])], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    assert done.report["configurations"][0]["tasks"][0]["missed_early"]["why"] == "stages unknown"


def test_a_repeated_decision_of_the_reasoner_is_not_early(ev, data, tmp_path):
    rows = data([row(i, 1) for i in range(4)])
    predictions = data([{"id": f"r{i}", "violation": False, "stage": stage}
                        for i, stage in enumerate(["reasoner", "cache", "cache", "screen"])], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    task = done.report["configurations"][0]["tasks"][0]
    assert task["missed_early"]["value"] == 0.25 and task["reasoner_calls"] == 1


def test_any_and_any_strict(ev, data, tmp_path):
    rows = data([{"id": "a", "text": "1", "labels": {"x": 1}}, {"id": "b", "text": "2", "labels": {"x": 0}},
                 {"id": "c", "text": "3", "labels": {"x": 0, "y": 0}}, {"id": "d", "text": "4", "labels": {"x": 0, "y": 1}},
                 {"id": "e", "text": "5", "labels": {}}])
    predictions = data([{"id": i, "violation": 1} for i in "abcde"], "p.jsonl")
    base = ("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    assert ev(*base).report["tasks"] == [{"label": "any-strict", "rows": 3, "violating": 2, "unknown": 2}]
    assert ev(*base, "--label", "any").report["tasks"] == [{"label": "any", "rows": 4, "violating": 2, "unknown": 1}]


def test_no_positives_is_not_zero(ev, data, tmp_path):
    rows = data([row(i, 0) for i in range(5)])
    predictions = data([{"id": f"r{i}", "violation": 0} for i in range(5)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, *everything(tmp_path))
    assert "n/a (0 positives)" in done.text and "n/a (0 flagged)" in done.text
    done = ev("--data", rows, "--predictions", predictions, "--fail-under", "f1=0", *everything(tmp_path))
    assert done.returncode == 4  # what cannot be measured does not pass


def test_scores_are_decided_by_the_threshold(ev, data, tmp_path):
    scores = [0.9, 0.6, 0.4, 0.1]
    rows = data([row(i, int(i < 2)) for i in range(4)])
    predictions = data([{"id": f"r{i}", "score": s} for i, s in enumerate(scores)], "p.jsonl")
    base = ("--data", rows, "--json", *everything(tmp_path))
    report = ev(*base, "--predictions", predictions, "--config", f"strict:predictions={predictions},threshold=0.7").report
    assert [c["name"] for c in report["configurations"]] == ["strict", "p"]
    assert figures(report, 0)["recall"] == 0.5 and figures(report, 1)["recall"] == 1
    assert figures(report, 0)["auprc"] == figures(report, 1)["auprc"] == 1
    (comparison,) = report["comparisons"]
    assert (comparison["only_a_right"], comparison["only_b_right"], comparison["mcnemar_p"]) == (0, 1, 1)
    assert comparison["n_flips"]["fixed"] == 1 and comparison["flips"][0]["id"] == "r1"


def test_predictions_that_cannot_be_meant(ev, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(4)])
    for bad, said in (({"id": "r0"}, "violation"), ({"id": "r0", "violation": "perhaps"}, "label"),
                      ({"id": "other", "violation": 1}, "other ids")):
        done = ev("--data", rows, "--predictions", data([bad], "p.jsonl"), *everything(tmp_path))
        assert done.returncode == 1 and said in done.errors, done.errors
    twice = data([{"id": "r0", "violation": 1}, {"id": "r0", "violation": 0}], "p.jsonl")
    done = ev("--data", rows, "--predictions", twice, *everything(tmp_path))
    assert done.returncode == 1 and "second answer" in done.errors and "line 2" in done.errors


def test_output_of_a_batch_is_a_configuration(ev, run, double, policy, data, tmp_path):
    rows = data([row(0, 1, "BAD"), row(1, 1, "fine"), row(2, 0, "UNSURE"), row(3, 0, "FAIL")])
    out = tmp_path / "out.jsonl"
    run(double, "check", "--policy", policy, "--model", tmp_path / "m.gguf", "--batch", rows, "--out", out)
    recorded = ev("--data", rows, "--predictions", out, "--json", *everything(tmp_path))
    live = ev("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--json", *everything(tmp_path))
    assert recorded.returncode == live.returncode == 3  # one row could not be judged
    assert figures(recorded.report) == figures(live.report)
    assert live.report["configurations"][0]["tasks"][0]["failed"] == 1
    reasons = live.report["configurations"][0]["tasks"][0]["undecided_reasons"]
    assert reasons == {"asked to be unsure": 1, "could not be judged: io": 1}


def test_against_sklearn_like_arithmetic_on_random_rows(ev, data, tmp_path):
    """AUPRC by its definition, in plain Python."""
    rng = random.Random(3)
    rows, predictions = [], []
    for i in range(300):
        truth = int(rng.random() < 0.3)
        rows.append(row(i, truth))
        predictions.append({"id": f"r{i}", "p_violation": round(min(1, max(0, rng.gauss(0.3 + 0.3 * truth, 0.2))), 2)})
    done = ev("--data", data(rows), "--predictions", data(predictions, "p.jsonl"), "--json", *everything(tmp_path))
    scores = {p["id"]: p["p_violation"] for p in predictions}
    truth = {r["id"]: r["labels"]["toxic"] for r in rows}
    total, area, tp = sum(truth.values()), 0, 0
    for threshold in sorted(set(scores.values()), reverse=True):
        flagged = [i for i in scores if scores[i] >= threshold]
        now = sum(truth[i] for i in flagged)
        area += (now - tp) / total * now / len(flagged)
        tp = now
    assert figures(done.report)["auprc"] == pytest.approx(area)


def test_two_policies_are_compared_with_both_reasonings(ev, policy, data, tmp_path):
    second = tmp_path / "v2.md"
    second.write_text(policy.read_text() + "\nMore.\n")
    rows = data([row(i, i % 2, "BAD" if i % 3 else "x") for i in range(12)])
    done = ev("--data", rows, "--model", tmp_path / "m.gguf", "--policy", policy, "--config", "old:", "--config",
              f"new:policy={second},effort=high", "--json", *everything(tmp_path))
    assert done.returncode == 0, done.errors
    assert [c["name"] for c in done.report["configurations"]] == ["old", "new"]
    old, new = (c["tasks"][0]["policy"] for c in done.report["configurations"])
    assert old["id"] == "spam" and new["id"] == "v2" and old["sha256"] != new["sha256"]
    assert done.report["configurations"][1]["settings"]["effort"] == "high"
    assert done.report["configurations"][0]["tasks"][0]["failures"][0]["answer"]["reasoning"] == "Because."


def test_every_policy_right(ev, policy, data, tmp_path):
    """exact match: every policy's label has to be right, and known."""
    rows = data([
        {"id": "a", "text": "BAD one", "labels": {"spam": 1, "hate": 1}},
        {"id": "b", "text": "BAD two", "labels": {"spam": 1, "hate": 0}},
        {"id": "c", "text": "three", "labels": {"spam": 0, "hate": 0}},
        {"id": "d", "text": "four", "labels": {"spam": 0}},
    ])
    second = tmp_path / "hate.md"
    second.write_text("Answer 1 for hate, else 0.\n")
    done = ev("--data", rows, "--model", tmp_path / "m.gguf", "--policy", policy, "--policy", second, "--json",
              "--fail-under", "exact_match=0.9", *everything(tmp_path))
    assert done.returncode == 4
    exact = done.report["configurations"][0]["exact_match"]
    assert exact["rows"] == 3 and exact["value"] == pytest.approx(2 / 3)
    assert [t["label"] for t in done.report["tasks"]] == ["spam", "hate"]
    assert done.report["checks"][0]["passed"] is False


def test_flags_are_measured_by_category(ev, data, tmp_path):
    rows = data([{"id": f"r{i}", "text": f"t{i}", "labels": {"hate": int(i < 2), "spam": int(i % 2)}} for i in range(4)])
    predictions = data([{"id": f"r{i}", "violation": True, "flags": {"hate": int(i < 1), "spam": None if i == 3 else i % 2}}
                        for i in range(4)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    hate, spam = done.report["configurations"][0]["tasks"][0]["categories"]
    assert hate["category"] == "hate" and hate["flags"] and hate["figures"]["recall"]["value"] == 0.5
    assert spam["figures"]["recall"]["value"] == 0.5 and spam["figures"]["undecided"]["value"] == 0.25


def test_one_named_category_is_measured_too(ev, data, tmp_path):
    rows = data([{"id": f"r{i}", "text": f"t{i}", "labels": {"hate": int(i < 2), "spam": int(i == 2)}} for i in range(4)])
    said = [(True, "hate"), (True, "spam"), (True, "spam"), (False, None)]
    predictions = data([{"id": f"r{i}", "violation": v, "category": c} for i, (v, c) in enumerate(said)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    hate, spam = done.report["configurations"][0]["tasks"][0]["categories"]
    assert (hate["figures"]["precision"]["value"], hate["figures"]["recall"]["value"]) == (1, 0.5)
    assert (spam["figures"]["precision"]["value"], spam["figures"]["recall"]["value"]) == (0.5, 1)


def test_slices(ev, data, tmp_path):
    rows = data([row(i, i % 2, meta={"lang": "fr" if i < 4 else "en"}) for i in range(8)])
    predictions = data([{"id": f"r{i}", "violation": i < 4} for i in range(8)], "p.jsonl")
    base = ("--data", rows, "--predictions", predictions, "--json", *everything(tmp_path))
    slices = {s["value"]: s for s in ev(*base).report["configurations"][0]["tasks"][0]["slices"]}
    assert slices["fr"]["figures"]["recall"]["value"] == 1 and slices["en"]["figures"]["recall"]["value"] == 0
    assert slices["fr"]["field"] == "language" and slices["fr"]["rows"] == 4
    done = ev(*base, "--slice", "colour")
    assert done.returncode == 2 and "colour" in done.errors


def test_published_formats(ev, data, tmp_path):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["conv_id", "user_input", "model_output", "human_annotation", "toxicity", "jailbreaking",
                     "openai_moderation"])
    for i in range(4):
        writer.writerow([f"c{i}", f"text, {i}\nmore", "…", "True", i % 2, 0, "[]"])
    rows = data(out.getvalue(), "toxicchat.csv")
    predictions = data([{"id": f"c{i}", "violation": 1} for i in range(4)], "p.jsonl")
    done = ev("--data", rows, "--label", "toxic", "--predictions", predictions, "--json", *everything(tmp_path))
    assert done.returncode == 0, done.errors
    assert figures(done.report)["precision"] == 0.5
    done = ev("--data", rows, "--label", "hate", "--predictions", predictions, *everything(tmp_path))
    assert done.returncode == 2 and 'no category "hate"' in done.errors


def test_the_same_id_in_two_files_is_refused(ev, data, tmp_path):
    a, b = data([row(0, 1)], "a.jsonl"), data([row(0, 0)], "b.jsonl")
    done = ev("--data", a, "--data", b, "--predictions", a, *everything(tmp_path))
    assert done.returncode == 1 and 'id "r0"' in done.errors


# --- the closed split ---------------------------------------------------------------------------------------------


def test_test_split_stays_closed_until_asked_for(ev, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(200)])
    predictions = data([{"id": f"r{i}", "violation": 1} for i in range(200)], "p.jsonl")
    record = tmp_path / "openings.jsonl"
    base = ("--data", rows, "--predictions", predictions, "--json", "--record", record)
    dev = ev(*base).report["data"]
    assert dev["split"] == "dev" and dev["rows"] + dev["test_rows"] == 200 and 30 < dev["test_rows"] < 90
    assert not record.exists()
    refused = ev(*base, "--split", "test")
    assert refused.returncode == 2 and "--open-test" in refused.errors and not record.exists()
    for n in (1, 2):
        test = ev(*base, "--split", "test", "--open-test").report["data"]
        assert test["rows"] == dev["test_rows"] and test["test_opened"] == n
    assert len(record.read_text().splitlines()) == 2
    other = ev("--data", data([row(i, 1, f"other {i}") for i in range(50)], "other.jsonl"), "--predictions", predictions,
               "--json", "--record", record, "--split", "test", "--open-test").report["data"]
    assert other["test_opened"] == 1  # another test split


def test_no_group_stands_on_both_sides(ev, data, tmp_path):
    rows = data([row(i, 1, f"t{i}", group=f"g{i // 5}") for i in range(200)])
    predictions = data([{"id": f"r{i}", "violation": 0} for i in range(200)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--json", "--list", "1000")
    dev = {int(f["id"][1:]) // 5 for f in done.report["configurations"][0]["tasks"][0]["failures"]}
    assert len(dev) * 5 == done.report["data"]["rows"]


def test_opening_that_cannot_be_written_down_does_not_happen(ev, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(50)])
    done = ev("--data", rows, "--predictions", rows, "--split", "all", "--open-test", "--record", tmp_path / "no/such")
    assert done.returncode == 1 and "cannot be written down" in done.errors and done.text == ""


# --- the journal --------------------------------------------------------------------------------------------------


def test_journal_is_resumed_and_keeps_what_still_holds(ev, policy, data, tmp_path):
    rows = data([row(i, i % 2, f"{'BAD' if i % 2 else 'x'} {i}") for i in range(20)])
    journal = tmp_path / "j.jsonl"
    base = ("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--journal", journal, "--json",
            *everything(tmp_path))
    first = ev(*base)
    assert first.returncode == 0, first.errors
    lines = journal.read_text().splitlines()
    assert len(lines) == 20
    assert ev(*base).returncode == 2  # not over what is there
    journal.write_text("\n".join(lines[:10]) + "\n" + lines[10][:30])  # killed while it wrote
    again = ev(*base, "--resume")
    assert figures(again.report) == figures(first.report)
    assert len(journal.read_text().splitlines()) == 20
    ev(*base, "--resume", "--effort", "high")  # another question
    assert len(journal.read_text().splitlines()) == 40
    data([row(i, i % 2, f"changed {i}") for i in range(20)])
    ev(*base, "--resume")  # other contents under the same ids
    assert len(journal.read_text().splitlines()) == 60
    journal.write_text("something else\n")
    assert "no journal" in ev(*base, "--resume").errors


def test_journal_can_be_read_as_predictions(ev, policy, data, tmp_path):
    rows = data([row(i, i % 2, f"{'BAD' if i % 3 else 'x'} {i}") for i in range(20)])
    journal = tmp_path / "j.jsonl"
    live = ev("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--config", "low:effort=low",
              "--config", "high:effort=high", "--journal", journal, "--json", *everything(tmp_path))
    assert live.returncode == 0, live.errors
    read = ev("--data", rows, "--config", f"again:predictions={journal},of=high", "--json", *everything(tmp_path))
    assert figures(read.report) == figures(live.report, 1)
    assert ev("--data", rows, "--predictions", journal, *everything(tmp_path)).returncode == 1  # of which?


# --- reports ------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """What a browser would make elements of, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, text):
        if "script" not in self.open and "style" not in self.open:
            self.words.append(text)


@pytest.fixture
def hostile(ev, data, tmp_path):
    """Everything that comes from outside holds HOSTILE."""
    rows = data([{"id": f"{i}{HOSTILE[:40]}", "text": f"{HOSTILE} {i}", "labels": {"toxic": i % 2},
                  "meta": {"kind" + HOSTILE: HOSTILE + str(i % 2)}} for i in range(20)])
    predictions = [data([{"id": f"{i}{HOSTILE[:40]}", "violation": (i + k) % 3 == 0, "rule_ids": [HOSTILE],
                          "reasoning": HOSTILE, "rationale": HOSTILE, "reason": HOSTILE, "stage": HOSTILE,
                          "category": HOSTILE, "policy": {"id": HOSTILE, "sha256": HOSTILE}} for i in range(20)],
                        f"p{k}.jsonl") for k in (0, 1)]
    page = tmp_path / "report.html"

    def call(*arguments):
        done = ev("--data", rows, "--predictions", predictions[0], "--predictions", predictions[1], "--html", page,
                  *arguments, *everything(tmp_path))
        assert done.returncode == 0, done.errors
        done.page = page.read_text()
        return done

    return call


def test_html_holds_hostile_content_as_text(hostile):
    text = hostile().page
    page = Page(text)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on") or name in ("src", "href", "style", "action")]
    shown = "".join(page.words)
    assert "</script></pre><script>alert(1)</script>" in shown
    assert "<U+202E><U+200B><U+001B>" in shown and "\u202e" not in text and "\x1b" not in text
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text


def test_html_allows_itself_nothing_else(hostile):
    text = hostile().page
    assert "default-src 'none'" in text and "unsafe-inline" not in text
    import base64
    import hashlib
    for tag in ("script", "style"):
        inner = text.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text


def test_html_has_plots_and_filters(hostile):
    page = Page(hostile().page)
    assert page.tags.count("figure") == 3
    assert "select" in page.tags and "aria-label" in page.attributes


def test_no_text_leaves_content_out(hostile):
    done = hostile("--no-text", "--json")
    assert "alert(1)</script> 3" not in done.text  # a text; the hostile names and rules stay
    assert "reasoning" not in json.dumps(done.report["comparisons"]) and '"text":"' not in done.text
    assert "\u202e 3" not in done.page and "<summary>reasoning</summary>" not in done.page


def test_terminal_gets_no_escape_sequence(hostile):
    done = hostile()
    assert "\x1b" not in done.text and "\u202e" not in done.text


def test_fail_under(ev, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(20)])
    predictions = data([{"id": f"r{i}", "p_violation": 0.9 if i % 2 or i == 0 else 0.1} for i in range(20)], "p.jsonl")
    base = ("--data", rows, "--predictions", predictions, *everything(tmp_path))
    assert ev(*base, "--fail-under", "f1=0.95").returncode == 0  # 20/21
    assert ev(*base, "--fail-under", "recall=1").returncode == 0
    assert ev(*base, "--fail-under", "f1=0.96").returncode == 4
    assert ev(*base, "--fail-under", "fpr=0.05").returncode == 4  # the lower the better
    assert ev(*base, "--fail-under", "p:fpr=0.1").returncode == 0
    for bad in ("f2=0.5", "f1", "f1=2", "other:f1=0.5"):
        assert ev(*base, "--fail-under", bad).returncode == 2


@pytest.mark.parametrize("arguments, said", [
    (("--policy", "p.md"), "--data"),
    (("--data", "x.jsonl"), "nothing to measure"),
    (("--data", "x.jsonl", "--policy", "p.md", "--split", "all"), "--open-test"),
    (("--data", "x.jsonl", "--policy", "p.md", "--open-test"), "--split"),
    (("--data", "x.jsonl", "--policy", "p.md", "--resume"), "--journal"),
    (("--data", "x.jsonl", "--config", "noname"), "NAME:"),
    (("--data", "x.jsonl", "--config", "a:colour=red"), "unknown option"),
    (("--data", "x.jsonl", "--config", "a:effort=huge"), "expected low|medium|high"),
])
def test_wrong_use(ev, arguments, said):
    done = ev(*arguments)
    assert done.returncode == 2 and said in done.errors, done.errors


def test_the_whole_of_toxicchat(ev, shared, tmp_path):
    """Real data, read as it is; a score that knows the truth but for noise."""
    rows = shared / "data/toxicchat.jsonl.gz"
    if not rows.exists():
        pytest.skip(f"no {rows}")
    import gzip
    rng = random.Random(1)
    known = [json.loads(line) for line in gzip.open(rows, "rt")]
    predictions = tmp_path / "p.jsonl"
    predictions.write_text(jsonl({"id": r["id"], "score": r["labels"]["toxic"] + rng.gauss(0, 0.4)} for r in known))
    done = ev("--data", rows, "--label", "toxic", "--predictions", predictions, "--bootstrap", "200", "--json",
              *everything(tmp_path))
    assert done.returncode == 0, done.errors
    task = done.report["configurations"][0]["tasks"][0]
    assert task["rows"] == len(known) and task["violating"] == sum(r["labels"]["toxic"] for r in known)
    auprc = task["figures"]["auprc"]
    assert auprc["low"] < auprc["value"] < auprc["high"] and not math.isnan(auprc["value"])


# --- attacks ------------------------------------------------------------------------------------------------------


def test_attacks_tell_what_each_of_them_changes(ev, policy, data, tmp_path):
    """The stand-in reads "BAD" as it is written: what changes letters hides it, what stands around it does not."""
    rows = data([row(i, i % 2, f"{'some BAD' if i % 4 else 'some'} words {i}") for i in range(40)])
    base = ("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--json", *everything(tmp_path))
    done = ev(*base, "--attack", "zero_width", "--attack", "apology_prefix", "--attack-rows", "15")
    assert done.returncode == 0, done.errors
    zero_width, apology = done.report["attacks"]
    assert zero_width["rows"] == apology["rows"] == 15
    assert zero_width["plain"]["value"] == apology["plain"]["value"] == 1
    assert apology["flagged"]["value"] == 1 and apology["lost"] == 0 and apology["change"] == 0
    assert zero_width["lost"] > 0 and zero_width["change"] == pytest.approx(-zero_width["lost"] / 15)
    assert zero_width["cleared_by"] == {"reasoner": zero_width["lost"]}
    everything_done = ev(*base, "--attacks").report["attacks"]
    assert len({a["attack"] for a in everything_done}) == len(everything_done) > 12


def test_attacked_rows_are_journaled_apart(ev, policy, data, tmp_path):
    rows = data([row(i, 1, f"BAD {i}") for i in range(10)])
    journal = tmp_path / "j.jsonl"
    base = ("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--attack", "leet", "--journal", journal,
            "--json", *everything(tmp_path))
    first = ev(*base)
    lines = journal.read_text().splitlines()
    assert len(lines) == 20
    again = ev(*base, "--resume")
    assert again.report["attacks"] == first.report["attacks"] and len(journal.read_text().splitlines()) == 20
    read = ev("--data", rows, "--predictions", journal, "--json", *everything(tmp_path))
    assert figures(read.report) == figures(first.report)  # the attacked lines are not answers to the rows


def test_help_lists_the_attacks(ev):
    text = ev("--help").text
    assert all(f"  {name}: " in text for name in ("homoglyphs", "zero_width", "fake_harmony", "padding_16"))


def test_recorded_answers_cannot_be_attacked(ev, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(10)])
    predictions = data([{"id": f"r{i}", "violation": 1} for i in range(10)], "p.jsonl")
    done = ev("--data", rows, "--predictions", predictions, "--attacks", *everything(tmp_path))
    assert done.returncode == 2 and "recorded answers" in done.errors
    done = ev("--data", rows, "--policy", "p.md", "--attack", "sorcery", *everything(tmp_path))
    assert done.returncode != 0


# --- cascades -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cascade(ev, run, double, policy, data, tmp_path):
    """cascade(*arguments): rows whose words tell, a screen learnt from rows like them, the stand-in behind it."""
    rng = random.Random(5)
    good, bad = ("meeting lunch train report garden music weather".split(), "casino prize winner viagra bet lottery".split())

    def rows_of(n, first):
        rows = []
        for i in range(n):
            truth = int(rng.random() < 0.4)
            words = [rng.choice(bad if truth and rng.random() < 0.7 else good) for _ in range(12)]
            rows.append(row(first + i, truth, " ".join(words) + (" BAD" if truth else "")))
        return rows

    learn, rows = data(rows_of(200, 1000), "learn.jsonl"), data(rows_of(120, 0))
    screen = tmp_path / "s.screen"
    done = run(double, "screen", "train", "--policy", policy, "--labels", learn, "--category", "toxic", "--use-kept",
               "--threads", "1", "--c", "10", "--out", screen)
    assert done.returncode == 0, done.stderr.decode()

    def call(*arguments):
        return ev("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--screen", screen, "--category",
                  "toxic", "--json", *arguments, *everything(tmp_path))

    return call


def test_score_of_the_screen_alone(cascade):
    done = cascade("--mode", "score")
    assert done.returncode == 0, done.errors
    task = done.report["configurations"][0]["tasks"][0]
    assert task["unscored"] == 0 and task["figures"]["auprc"]["value"] > 0.9
    assert task["reasoner_calls"] == 0 and task["stages"]["screen"]["rows"] == 120


def test_modes_side_by_side(cascade):
    done = cascade("--config", "alone:mode=reasoner-only", "--config", "cascade:mode=cascade", "--config",
                   "screen:mode=screen-only", "--config", "shadow:mode=shadow")
    assert done.returncode == 0, done.errors
    alone, full, screen, shadow = (c["tasks"][0] for c in done.report["configurations"])
    # without a certificate the screen decides nothing, so the cascade is the reasoner
    assert alone["figures"]["f1"] == full["figures"]["f1"] and full["reasoner_calls"] == 120
    assert screen["figures"]["undecided"]["value"] == 1 and screen["figures"]["held"]["value"] == 1
    assert screen["reasoner_calls"] in (0, None)
    assert alone["cost"]["of"] == "score" and shadow["cost"]["of"] == "screen in front of the reasoner"
    curve = shadow["cost"]["curve"]  # threshold, recall, precision, share that goes on
    assert curve[-1][3] == 1 and curve[-1][1] == pytest.approx(shadow["figures"]["recall"]["value"])
    half = max(r for _, r, _, share in curve if share <= 0.6)
    assert half > 0.9 * curve[-1][1]  # most of what the reasoner finds, for little more than half of its work


def test_rules_are_a_stage(cascade, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {name: gambling, phrase: casino, action: violates}\n")
    done = cascade("--config", "plain:mode=reasoner-only", "--config", f"listed:rules={rules}", "--attack", "padding_2")
    assert done.returncode == 0, done.errors
    plain, listed = (c["tasks"][0] for c in done.report["configurations"])
    assert listed["stages"]["rules"]["rows"] > 0
    assert listed["reasoner_calls"] == 120 - listed["stages"]["rules"]["rows"] < plain["reasoner_calls"]
    assert listed["rules"]["gambling"]["right"] > 0
    assert listed["figures"]["auprc"]["why"] == "several stages"  # their scores are not comparable
    assert listed["cleared_early"]["value"] == listed["missed_early"]["value"] == 0  # these rules only flag
    rules.write_text("rules:\n  - {phrase: garden, whole: false, action: clear}\n")
    cleared = cascade("--rules", rules).report["configurations"][0]["tasks"][0]
    stage = cleared["stages"]["rules"]
    assert cleared["missed_early"]["value"] == pytest.approx(stage.get("missed", 0) / cleared["violating"])
    assert cleared["cleared_early"]["value"] == pytest.approx(
        (stage["does_not_violate"] - stage.get("missed", 0)) / (cleared["rows"] - cleared["violating"]))
    assert cleared["cleared_early"]["value"] > 0
    assert {a["configuration"] for a in done.report["attacks"]} == {"plain", "listed"}


def test_score_needs_a_screen(ev, policy, data, tmp_path):
    rows = data([row(i, i % 2) for i in range(10)])
    done = ev("--data", rows, "--policy", policy, "--mode", "score", *everything(tmp_path))
    assert done.returncode == 2 and "needs a screen" in done.errors


# --- runs that take a while --------------------------------------------------------------------------------------------


def test_interrupted_run_goes_on(ev, double, policy, data, tmp_path, env):
    rows = data([row(i, i % 2, f"PAUSE {i}") for i in range(60)])  # 50 ms each
    journal = tmp_path / "j.jsonl"
    base = ("--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", "--journal", journal,
            *everything(tmp_path))
    started = subprocess.Popen([double, "eval", *map(str, base)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    for _ in range(400):
        if journal.exists() and journal.read_text().count("\n") >= 3:
            break
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    out, errors = started.communicate(timeout=60)
    assert started.returncode == 130 and out == b"" and b"--resume goes on" in errors
    before = journal.read_text()
    assert 3 <= before.count("\n") < 60 and before.endswith("\n")
    done = ev(*base, "--resume", "--json")
    assert done.returncode == 0 and done.report["data"]["rows"] == 60
    assert journal.read_text().startswith(before) and journal.read_text().count("\n") == 60


def test_progress_on_a_terminal_alone(ev, double, policy, data, tmp_path, env):
    rows = data([row(i, i % 2, f"PAUSE {i}") for i in range(8)])
    arguments = [double, "eval", "--data", rows, "--policy", policy, "--model", tmp_path / "m.gguf", *everything(tmp_path)]
    assert ev(*arguments[2:]).errors == ""
    master, slave = pty.openpty()
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=slave,
                          env={**env, "TERM": "xterm"}, timeout=60)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0 and "8 answers" in shown and b"\r" not in done.stdout


@pytest.fixture
def server():
    server = ChatServer()
    yield server
    server.close()


def test_a_server_is_asked_several_rows_at_a_time(ev, binary, run, policy, data, server, tmp_path):
    def slowly(handler, body):
        time.sleep(0.05)
        answer(*(("1", ONE) if "BAD" in body["messages"][-1]["content"] else ("0", ZERO)))(handler, body)

    server.default = slowly
    rows = data([row(i, i % 2, f"{'BAD' if i % 2 else 'fine'} {i}") for i in range(24)])
    base = ("--data", rows, "--policy", policy, "--reasoner", server.url, "--reasoner-model", "m", *everything(tmp_path))
    done = run(binary, "eval", *base, "--in-flight", "6", "--json", "--journal", tmp_path / "j.jsonl")
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    task = report["configurations"][0]["tasks"][0]
    assert task["figures"]["f1"]["value"] == 1 and task["parse_rate"]["value"] == 1
    assert task["reasoner_calls"] == 24 == len(server.requests) and server.most_active > 1
    assert task["tokens"]["answers"] == 24 and task["tokens"]["output"] == 24 * 7 and task["ms"]["median"] >= 50
    assert report["configurations"][0]["settings"]["reasoner_model"] == "m"


def test_a_server_that_is_gone_ends_the_run(ev, binary, run, policy, data, server, tmp_path):
    rows = data([row(i, i % 2) for i in range(5)])
    url = server.url
    server.close()
    done = run(binary, "eval", "--data", rows, "--policy", policy, "--reasoner", url, "--reasoner-model", "m", "--journal",
               tmp_path / "j.jsonl", *everything(tmp_path))
    assert done.returncode == 1 and done.stdout == b"" and b"--resume goes on" in done.stderr


def test_two_policies_in_one_file_of_predictions(ev, policy, data, tmp_path):
    rows = data([{"id": f"r{i}", "text": f"t{i}", "labels": {"hate": i % 2, "spam": int(i > 1)}} for i in range(4)])
    lines = [{"id": f"r{i}", "violation": v, "policy": {"id": p, "sha256": p * 8}}
             for i in range(4) for p, v in (("hate", i % 2 == 1), ("spam", i > 2))]
    predictions = data([*lines, {"id": "r0", "violation": 1, "policy": {"id": "other"}}], "p.jsonl")
    done = ev("--data", rows, "--label", "hate", "--label", "spam", "--predictions", predictions, "--json",
              *everything(tmp_path))
    assert done.returncode == 0, done.errors
    config = done.report["configurations"][0]
    assert [t["figures"]["recall"]["value"] for t in config["tasks"]] == [1, 0.5]
    assert [t["policy"]["id"] for t in config["tasks"]] == ["hate", "spam"]
    assert config["exact_match"]["value"] == 0.75
    one = ev("--data", rows, "--label", "hate", "--predictions", predictions, *everything(tmp_path))
    assert one.returncode == 1 and "second answer" in one.errors  # whose answers are meant?


def test_one_of_two_policies_is_replaced(ev, policy, data, tmp_path):
    rows = data([{"id": f"r{i}", "text": f"t{i}", "labels": {"hate": i % 2, "spam": int(i > 1)}} for i in range(4)])
    paths = {}
    for name in ("h1", "h2", "s1"):
        paths[name] = tmp_path / f"{name}.md"
        paths[name].write_text(f"Answer 1 or 0. {name}\n")
    done = ev("--data", rows, "--model", tmp_path / "m.gguf", "--policy", f"hate={paths['h1']}", "--policy",
              f"spam={paths['s1']}", "--config", "a:", "--config", f"b:policy=hate={paths['h2']}", "--json",
              *everything(tmp_path))
    assert done.returncode == 0, done.errors
    assert [[t["policy"]["id"] for t in c["tasks"]] for c in done.report["configurations"]] == [["h1", "s1"], ["h2", "s1"]]
    assert [(c["label"], c["b"]) for c in done.report["comparisons"]] == [("hate", "b"), ("spam", "b")]
    missing = ev("--data", rows, "--model", tmp_path / "m.gguf", "--label", "hate", "--label", "spam", "--policy",
                 f"hate={paths['h1']}", *everything(tmp_path))
    assert missing.returncode == 2 and 'no policy for "spam"' in missing.errors


def test_the_native_engine(run, binary, policy, data, tiny_model, tmp_path):
    """A model of random weights: its verdicts mean nothing, but they are real ones."""
    rows = data([row(i, i % 2, f"text number {i}") for i in range(4)])
    done = run(binary, "eval", "--data", rows, "--policy", policy, "--model", tiny_model, "--reasoning-budget", "4",
               "--threads", "1", "--json", *everything(tmp_path))
    assert done.returncode == 0, done.stderr.decode()
    task = json.loads(done.stdout)["configurations"][0]["tasks"][0]
    assert task["answered"] == 4 and task["reasoner_calls"] == 4 and task["tokens"]["prompt"] > 0 and task["ms"]["total"] > 0
