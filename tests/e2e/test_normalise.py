"""The normaliser and its gate through the program: what ordinary text loses to it, what the known evasions lose."""

import gzip
import json
import random

import pytest

TASKS = ["openai_moderation", "toxicchat", "edos_sexism", "sms_spam"]
LANGUAGES = ["mhc_arabic", "mhc_dutch", "mhc_french", "mhc_german", "mhc_hindi", "mhc_italian", "mhc_mandarin",
             "mhc_polish", "mhc_portuguese", "mhc_spanish"]
# of violating rows, found by the gate or written again as they were in a reading
LETTERS = ["homoglyphs", "zero_width", "bidi", "leet", "letter_spacing", "dots", "full_width", "styled",
           "combining_marks", "emoji_smuggling", "tag_smuggling"]
ROWS = 300


@pytest.fixture
def dev(run, binary):
    def call(texts, *words):
        stdin = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        done = run(binary, "dev", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return call


@pytest.fixture
def rows(shared):
    def read(name):
        path = shared / "data" / f"{name}.jsonl.gz"
        if not path.exists():
            pytest.skip(f"no {path}")
        with gzip.open(path) as file:
            lines = [json.loads(line) for line in file]
        random.Random(5).shuffle(lines)
        bad = [row["text"] for row in lines if any(row["labels"].values())]
        return [row["text"] for row in lines if not any(row["labels"].values())], bad

    return read


def test_readings(dev):
    line, = dev(["You 1d10t, i d i o t \u0456diot"], "normalise")
    assert line == {"readings": {"folded": "you 1d10t, i d i o t idiot", "leet": "you idiot, i d i o t idiot",
                                 "spacing": "you 1d10t, idiot idiot"},
                    "signals": ["mixed_script", "leet", "letter_spacing"], "evasive": True}
    line, = dev(["Hello"], "normalise")
    assert line == {"readings": {"folded": "hello"}, "signals": [], "evasive": False}


def test_attack(dev, run, binary):
    first, again, other = (dev(["you stupid idiot", "\u6211"], "attack", "leet", "--seed", seed) for seed in "112")
    assert first == again and first != other
    assert first[0]["applied"] and not first[1]["applied"] and first[1]["text"] == "\u6211"
    done = run(binary, "dev", "attack", "none", stdin=b"{}\n")
    assert done.returncode == 1 and b"unknown attack" in done.stderr
    done = run(binary, "dev", "normalise", stdin=b'{"text":"a"}\n{"text":1}\n')
    assert done.returncode == 1 and b"line 2" in done.stderr


@pytest.mark.parametrize("name", TASKS + LANGUAGES)
def test_ordinary_rows_pass(dev, rows, name):
    ordinary, _ = rows(name)
    evasive = sum(line["evasive"] for line in dev(ordinary, "normalise"))
    assert evasive <= 0.02 * len(ordinary)


@pytest.mark.parametrize("name", TASKS)
def test_evasions_are_found(dev, rows, name):
    bad = rows(name)[1][:ROWS]
    plain = [line["readings"].get("folded", "") for line in dev(bad, "normalise")]
    for attack in LETTERS:
        attacked = dev(bad, "attack", attack)
        found = dev([line["text"] for line in attacked], "normalise")
        n = hits = 0
        for hidden, line, text in zip(attacked, found, plain):
            n += hidden["applied"]
            hits += hidden["applied"] and (line["evasive"] or text in line["readings"].values())
        assert n > 0.9 * len(bad) and hits >= 0.95 * n, f"{attack}: {hits} of {n}"
