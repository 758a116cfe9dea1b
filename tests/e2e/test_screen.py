"""screen train, info, score: what a user gets, and what is refused."""

import json
import random

import pytest

BAD = "claim prize cash winner casino bonus loan urgent offer free".split()
GOOD = "meeting lunch tomorrow report school weather garden music train dinner".split()
BOTH = "the a you we is are to for with this".split()


def make_rows(n, seed=1, **more):
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        bad = i % 4 == 0
        words = [rng.choice((BAD if bad else GOOD) if rng.random() < 0.5 else BOTH) for _ in range(10)]
        rows.append({"id": str(i), "text": " ".join(words) + f" {i}", "labels": {"spam": int(bad), "article": int("the" in words)},
                     "group": f"g{i}", **more})
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def train(run, double, policy, tmp_path):
    def call(rows, *arguments, options=("--c", "10", "--vector-scale", "0.3")):
        labels = write(tmp_path / "labels.jsonl", rows)
        out = tmp_path / "s.screen"
        done = run(double, "screen", "train", "--policy", policy, "--labels", labels, "--out", out, *options,
                   *arguments)
        done.out = out
        return done

    return call


@pytest.fixture
def score(run, double, tmp_path):
    def call(screen, texts, *arguments):
        path = write(tmp_path / "texts.jsonl", [{"id": f"t{i}", "text": text} for i, text in enumerate(texts)])
        done = run(double, "screen", "score", screen, path, *arguments)
        done.rows = [json.loads(line) for line in done.stdout.splitlines()]
        return done

    return call


def test_train_and_score(train, score, run, double):
    done = train(make_rows(200))
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert [c["category"] for c in info["categories"]] == ["any"]
    assert run(double, "screen", "info", done.out).stdout == done.stdout
    scored = score(done.out, ["claim your free prize", "lunch with music tomorrow"], "--explain", "3")
    assert scored.returncode == 0
    high, low = scored.rows
    assert high["id"] == "t0" and high["score"] > 0.5 > low["score"] and high["margin"] > 0 > low["margin"]
    assert not high["calibrated"] and not high["evasive"] and high["window"] == [0, 21]
    assert len(high["features"]) == 3 and all(isinstance(w, float) for _, w in high["features"])


def test_default_choice_is_made_by_cross_validation(train):
    done = train(make_rows(120), options=())
    category, = json.loads(done.stdout)["categories"]
    assert category["average_precision"] > 0.9
    assert category["c"] in (3, 10, 30, 100)


def test_categories(train, score):
    done = train(make_rows(200), "--category", "spam", "--category", "article")
    assert [c["category"] for c in json.loads(done.stdout)["categories"]] == ["spam", "article"]
    for name, high in (("spam", 0), ("article", 1)):
        rows = score(done.out, ["claim prize cash", "the the the the"], "--category", name).rows
        assert rows[high]["margin"] > rows[1 - high]["margin"]
    assert score(done.out, ["x"]).returncode == 2  # which of the two?
    assert score(done.out, ["x"], "--category", "hate").returncode == 2
    assert b"asked for twice" in train(make_rows(200), "--category", "spam", "--category", "spam").stderr


def test_no_labels(train, tmp_path):
    done = train([])
    assert done.returncode == 1 and b"everything escalates" in done.stderr
    assert not done.out.exists()


def test_one_class(train):
    rows = [row for row in make_rows(40) if row["labels"]["spam"] == 0]
    done = train(rows, "--category", "spam")
    assert done.returncode == 1 and b"0 violating and 30 other" in done.stderr


def test_rows_for_proofs_are_not_learnt(train):
    rows = make_rows(400, drawn="uniform", p_drawn=1)
    done = train(rows)
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert 130 < info["texts"] < 270 and b"kept for certificates" in done.stderr
    assert info["categories"][0]["calibration"]["rows"] == info["texts"]
    assert json.loads(train(rows, "--use-kept").stdout)["texts"] == 400


def test_damage_is_refused(train, score, run, double, tmp_path):
    screen = train(make_rows(80)).out
    data = screen.read_bytes()
    for at in (0, 9, 60, 300, len(data) // 2, len(data) - 1):
        bad = tmp_path / "bad.screen"
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        for done in (score(bad, ["x"]), run(double, "screen", "info", bad)):
            assert done.returncode == 1 and done.stdout == b"" and done.stderr
    bad.write_bytes(data[:1000])
    assert score(bad, ["x"]).returncode == 1
    assert score(tmp_path / "none.screen", ["x"]).returncode == 1


def test_unreadable_rows_have_no_score(train, run, double, tmp_path):
    screen = train(make_rows(80)).out
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"id":"a","text":"claim"}\n{"id":"b"}\n{"id":"c","text":"   "}\n{"id":"d","text":"lunch"}\n')
    done = run(double, "screen", "score", screen, path)
    rows = {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 3
    assert rows["b"]["score"] is None and rows["c"]["score"] is None and rows["b"]["error"]["text"]
    assert rows["a"]["score"] > rows["d"]["score"]


def test_conversations_are_scored(train, run, double, tmp_path):
    screen = train(make_rows(80)).out
    path = write(tmp_path / "talk.jsonl", [
        {"id": "a", "messages": [{"role": "user", "content": "lunch"}, {"role": "user", "content": "claim cash prize"}]},
        {"id": "b", "messages": [{"role": "user", "content": "lunch"}, {"role": "user", "content": "dinner"}]}])
    a, b = map(json.loads, run(double, "screen", "score", screen, path).stdout.splitlines())
    assert a["margin"] > b["margin"]


def test_evasion_is_told(train, score):
    screen = train(make_rows(200)).out
    plain, tricked = score(screen, ["claim your prize", "cl\u0430im your pri\u200bze"]).rows
    assert not plain["evasive"] and tricked["evasive"] and tricked["margin"] >= plain["margin"] - 1e-9
    assert "mixed_script" in tricked["signals"] or "confusables" in tricked["signals"]
