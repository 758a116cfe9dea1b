"""screen learn from end to end: the reasoner repeats a file of answers, everything else is the real thing."""
import json
import subprocess

import pytest

POLICY = "# Gambling\n\nAnswer 1 for gambling, else 0.\n"
WORDS = ["river", "garden", "letter", "window", "cousin", "market", "engine", "winter"]


def text_of(i):
    words = " ".join(WORDS[(i * k + i // 9) % 8] for k in (1, 3, 5))
    return f"{words} {i * 7919}" + (" casino bonus" if i % 6 == 2 else "")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policy.md").write_text(POLICY)
    with open(tmp_path / "corpus.jsonl", "w") as corpus, open(tmp_path / "answers.jsonl", "w") as answers:
        for i in range(300):
            corpus.write(json.dumps({"id": f"r{i}", "text": text_of(i)}) + "\n")
            answers.write(json.dumps({"text": text_of(i), "labels": {"gambling": int(i % 6 == 2)}}) + "\n")
        corpus.write(json.dumps({"id": "copy", "text": text_of(5)}) + "\n")
        corpus.write(json.dumps({"id": "empty", "text": " "}) + "\n")
    return tmp_path


def learn(binary, env, folder, budget, *more, reasoner="replay:answers.jsonl"):
    return subprocess.run(
        [binary, "screen", "learn", "--policy", "policy.md", "--corpus", "corpus.jsonl", "--budget", str(budget),
         "--labels", "labels.jsonl", "--out", "out.screen", "--reasoner", reasoner, "--first", "40", "--batch", "20",
         "--audit", "0.1", "--c", "10", "--threads", "1", *more],
        capture_output=True, text=True, env=env, cwd=folder, timeout=120,
    )


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_learns_and_goes_on(binary, env, folder):
    done = learn(binary, env, folder, 100, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["copies"], report["unreadable"]) == (300, 1, 1)
    last = report["rounds"][-1]
    assert last["final"] and last["answers"] == 100 and last["kept"] == 0
    assert last["violating"] + last["harmless"] == 100
    first = lines_of(folder / "labels.jsonl")
    assert len(first) == 100 and len({line["content_sha256"] for line in first}) == 100
    assert {line["drawn"] for line in first} == {"audit", "uniform", "uncertainty"}
    for line in first:
        assert 0 < line["p_drawn"] <= 1
        assert line["violation"] == int("casino" in line["text"])

    refused = learn(binary, env, folder, 140)
    assert refused.returncode == 2 and "--resume" in refused.stderr

    more = learn(binary, env, folder, 140, "--json", "--resume")
    assert more.returncode == 0, more.stderr
    assert lines_of(folder / "labels.jsonl")[:100] == first
    last = json.loads(more.stdout)["rounds"][-1]
    assert last["answers"] == 140 and last["kept"] >= 60
    assert len(lines_of(folder / "labels.jsonl")) == 100 + 140 - last["kept"]

    # what was learnt tells them apart
    out = subprocess.run([binary, "screen", "score", "out.screen", "corpus.jsonl"], capture_output=True, text=True,
                         env=env, cwd=folder)
    scores = {line["id"]: line["margin"] for line in map(json.loads, out.stdout.splitlines()) if "margin" in line}
    assert min(scores[f"r{i}"] for i in range(2, 300, 6)) > max(scores[f"r{i}"] for i in range(300) if i % 6 != 2)


def test_table_and_held_back_rows(binary, env, folder):
    done = learn(binary, env, folder, 60, "--test", "answers.jsonl", "--test-category", "gambling", "--quiet")
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert table[0].split()[:2] == ["round", "answers"] and "AUPRC test" in table[0]
    assert table[-1].split()[:2] == ["final", "60"]
    assert float(table[-1].split()[-1]) > 0.9


def test_no_text(binary, env, folder):
    assert learn(binary, env, folder, 60, "--no-text").returncode == 0
    assert all("text" not in line for line in lines_of(folder / "labels.jsonl"))
    again = learn(binary, env, folder, 60, "--no-text", "--resume", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["rounds"][-1]["kept"] == 60


def test_one_class_alone_is_no_screen(binary, env, folder):
    (folder / "answers.jsonl").write_text(
        "".join(json.dumps({"text": text_of(i), "labels": {"gambling": 0}}) + "\n" for i in range(300)))
    done = learn(binary, env, folder, 60)
    assert done.returncode == 1 and "nothing to tell apart" in done.stderr
    assert len(lines_of(folder / "labels.jsonl")) == 60
    assert not (folder / "out.screen").exists()


def test_a_server_that_is_not_there(binary, env, folder):
    done = learn(binary, env, folder, 60, "--reasoner-model", "m", reasoner="http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert not (folder / "out.screen").exists()


@pytest.mark.parametrize("words, what", [(["--budget", "0"], "budget"), (["--audit", "0.9"], "audit"), ([], "needed")])
def test_wrong_use(binary, env, folder, words, what):
    done = subprocess.run([binary, "screen", "learn", *words], capture_output=True, text=True, env=env, cwd=folder)
    assert done.returncode == 2 and what in done.stderr
