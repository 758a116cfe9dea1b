"""screen certify: from labels to a certificate, and what makes it worthless."""

import json
import random

import pytest

SPAM = "cheap pills buy now discount offer click here winner free cash".split()
HAM = "lunch tomorrow meeting notes garden weather book train thanks see you later".split()


def texts(words, n, seed):
    """Distinct texts; every tenth is written with the other side's words."""
    random.seed(seed)
    other = HAM if words is SPAM else SPAM
    return [f"{' '.join(random.choices(other if i % 10 == 9 else words, k=6))} {seed}-{i}" for i in range(n)]


def rows(n_spam, n_ham, seed, **fields):
    return ([{"id": f"s{seed}-{i}", "text": t, "labels": {"spam": 1}, **fields}
             for i, t in enumerate(texts(SPAM, n_spam, seed))] +
            [{"id": f"h{seed}-{i}", "text": t, "labels": {"spam": 0}, **fields}
             for i, t in enumerate(texts(HAM, n_ham, seed))])


class World:
    def __init__(self, run, double, policy, folder):
        self.run, self.double, self.policy, self.folder = run, double, policy, folder
        self.labels, self.screen, self.out = folder / "l.jsonl", folder / "s.screen", folder / "c.json"

    def call(self, *arguments, status=0):
        done = self.run(self.double, *arguments)
        assert done.returncode == status, done.stderr.decode()
        return done

    def add(self, data, *how):
        path = self.folder / "data.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in data))
        self.call("labels", "import", "--policy", self.policy, "--labels", self.labels, "--data", path, "--category",
                  "spam", *how)

    def train(self, *more):
        self.call("screen", "train", "--policy", self.policy, "--labels", self.labels, "--out", self.screen, *more)

    def certify(self, *more, status=0):
        return self.call("screen", "certify", "--policy", self.policy, "--labels", self.labels, "--screen", self.screen,
                         *more, status=status)

    def attempts(self):
        lines = [json.loads(line) for line in self.labels.read_text().splitlines()]
        return [line["attempt"] for line in lines if "attempt" in line]


UNIFORM = ("--drawn", "uniform", "--p", "1")


@pytest.fixture
def world(run, double, policy, tmp_path):
    return World(run, double, policy, tmp_path)


def test_certifies_and_keeps_the_account(world):
    world.add(rows(400, 600, 1), *UNIFORM)
    world.train()
    done = world.certify("--miss", "0.2", "--out", world.out)
    assert b"certified" in done.stdout and b"people" in done.stdout
    certificate = json.loads(world.out.read_text())["certificate"]
    miss = certificate["categories"][0]["miss"]
    assert miss["certified"] and miss["bound"] <= 0.2 and miss["method"] == "clopper-pearson"
    assert 150 < miss["counted"] < 250  # half of the rows are kept for this
    assert certificate["attempt"] == 1 and abs(miss["delta"] - 0.04) < 1e-9 and miss["spent"] == 0
    first = world.attempts()
    assert len(first) == 1 and first[0]["side"] == "miss"

    # the same question costs nothing, another one uses four fifths of what is left
    again = json.loads(world.certify("--miss", "0.2", "--json").stdout)["certificate"]["categories"][0]["miss"]
    assert again == miss and world.attempts() == first
    other = json.loads(world.certify("--miss", "0.15", "--json").stdout)["certificate"]["categories"][0]["miss"]
    assert abs(other["spent"] - 0.04) < 1e-9 and abs(other["delta"] - 0.008) < 1e-9
    assert len(world.attempts()) == 2
    # the other side has its own account
    flag = json.loads(world.certify("--flag", "0.7", "--json").stdout)["certificate"]["categories"][0]["flag"]
    assert flag["spent"] == 0 and flag["certified"]
    last = world.certify("--miss", "0.15", "--spend", "1", status=0)
    assert b"earlier attempts 0.048" in last.stdout
    assert b"nothing is left" in world.certify("--miss", "0.16", status=1).stderr


def test_says_how_many_rows_are_missing(world):
    world.add(rows(40, 100, 2), *UNIFORM)
    world.train()
    done = world.certify("--miss", "0.01", "--out", world.out, status=1)
    assert b"not certifiable: needs at least" in done.stdout and b"more violating rows" in done.stdout
    assert not world.out.exists() and b"everything escalates" in done.stderr
    assert len(world.attempts()) == 1


def test_a_new_group_does_not_make_a_learnt_row_a_proof(world):
    data = rows(200, 200, 11)
    world.add(data, *UNIFORM)
    world.train()
    miss = lambda: json.loads(world.certify("--miss", "0.2", "--json").stdout)["certificate"]["categories"][0]["miss"]
    before = miss()["counted"]
    world.add([{**row, "group": f"campaign {i}"} for i, row in enumerate(data)], *UNIFORM)
    assert 60 < before < 140 and miss()["counted"] == before


def test_a_persons_correction_leaves_a_kept_row_kept(world):
    data = rows(100, 100, 12)
    world.add(data, *UNIFORM)
    lines = [json.loads(line) for line in world.labels.read_text().splitlines()]  # as if a reasoner had said it
    world.labels.write_text("".join(json.dumps({**line, "role": "reasoner", "who": "reasoner:x"}) + "\n" for line in lines))
    kept = lambda: int(world.call("screen", "train", "--policy", world.policy, "--labels", world.labels, "--out",
                                  world.screen).stderr.split(b" rows left out: they are kept")[0].split()[-1])
    before = kept()
    world.add(data, "--drawn", "picked", "--role", "review", "--who", "ann")
    assert before > 60 and kept() == before


def test_what_was_learnt_from_or_picked_proves_nothing(world):
    world.add(rows(200, 200, 3), *UNIFORM)
    world.train("--use-kept")
    done = world.certify("--miss", "0.1", status=1)
    assert b"0 of 400 may prove something" in done.stdout and b"learnt from" in done.stdout
    world.add(rows(100, 100, 4))
    done = world.certify("--miss", "0.1", status=1)
    assert b"200 were picked" in done.stdout
    # rows drawn since prove something about that screen
    world.add(rows(200, 200, 5), *UNIFORM)
    assert b"400 of 1000 may prove something" in world.certify("--miss", "0.2").stdout


def test_groups_count_once(world):
    world.add(rows(200, 200, 6), *UNIFORM)
    world.train()
    world.add([{**row, "group": f"g{i // 50}"} for i, row in enumerate(rows(200, 100, 7))], *UNIFORM)
    miss = json.loads(world.certify("--miss", "0.2", "--json").stdout)["certificate"]["categories"][0]["miss"]
    assert miss["violating"] < 115  # some 100 of their own, and 4 groups


def test_rows_drawn_with_different_probabilities(world):
    world.add(rows(300, 300, 12))  # picked: they teach
    world.train()
    drawn = rows(400, 400, 13)
    for i, row in enumerate(drawn):
        row.update(drawn="uncertainty", p_drawn=0.5 if i % 3 else 0.25)
    world.add(drawn)
    certified = {}
    for how in ((), ("--p-floor", "0.05"), ("--p-floor", "0.3")):
        done = world.run(world.double, "screen", "certify", "--policy", world.policy, "--labels", world.labels, "--screen",
                         world.screen, "--miss", "0.25", "--json", *how, "--attempts", world.folder / f"a{how}.jsonl")
        if how[-1:] == ("0.3",):
            assert b"below the floor 0.3" in done.stderr
            continue
        certified[how] = json.loads(done.stdout)["certificate"]["categories"][0]["miss"]
    miss, far = certified.values()
    assert miss["method"] == "betting" and miss["certified"] and miss["counted"] == 400
    # with the same rows less is proved when contents might have been drawn much more rarely
    assert far["passed_share"] < miss["passed_share"]


def test_a_cheaper_reasoner_behind_the_screen(world):
    data = rows(500, 800, 17)
    world.add(data, *UNIFORM)
    world.train()
    world.certify("--miss", "0.15", "--out", world.out, "--spend", "0.5")
    screen = json.loads(world.out.read_text())["certificate"]["categories"][0]["miss"]
    verdicts, both = world.folder / "v.jsonl", world.folder / "both.json"
    # it is right nine times in ten, sure of itself, and undecided now and then
    random.seed(18)
    lines = []
    for row in data:
        p = random.betavariate(6, 2) if row["labels"]["spam"] != (random.random() < 0.1) else random.betavariate(2, 6)
        lines.append({"id": row["id"], "decision": random.choice(["violates"] * 9 + ["undecided"]), "p_violation": p,
                      "model": {"name": "small", "sha256": None}})
    lines.append({"id": "x", "error": {"code": "io"}})
    verdicts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    behind = ("--verdicts", verdicts, "--certificate", world.out)
    world.certify("--miss", "0.15", "--flag", "0.5", *behind, "--out", both, "--spend", "1")
    entry = json.loads(both.read_text())["certificate"]["categories"][0]
    assert entry["miss"] == screen
    reasoner = entry["reasoners"][0]
    assert reasoner["name"] == "small" and reasoner["miss"]["certified"] and reasoner["flag"]["certified"]
    assert 0 < reasoner["miss"]["threshold"] < 1 and reasoner["miss"]["spent"] == screen["delta"]
    # the promise is about both stages together: what the screen clears counts too, and more is cleared than by it alone
    assert reasoner["miss"]["wrong"] >= screen["wrong"] and reasoner["miss"]["passed_share"] > screen["passed_share"]
    assert world.attempts()[-1]["stage"].startswith("small ")
    verdicts.write_text(json.dumps({**lines[0], "model": {"name": "other"}}) + "\n" + verdicts.read_text())
    assert b"several models" in world.certify("--miss", "0.15", *behind, status=1).stderr
    assert b"belong together" in world.certify("--miss", "0.15", "--verdicts", verdicts, status=2).stderr


def test_rules_are_part_of_it(world):
    world.add(rows(400, 400, 8), *UNIFORM)
    world.train()
    rules = world.folder / "rules.yaml"
    rules.write_text("rules:\n  - {phrase: cheap, action: clear, whole: false}\n")
    done = world.certify("--miss", "0.1", "--rules", rules, status=1)
    assert b"not certifiable" in done.stdout  # a rule that clears half of the spam
    assert len(world.attempts()) == 1


def test_watch_rings_when_the_promise_is_broken(world):
    world.add(rows(400, 600, 14), *UNIFORM)
    world.train()
    world.certify("--miss", "0.2", "--out", world.out)
    watch = ("screen", "watch", "--policy", world.policy, "--labels", world.labels, "--screen", world.screen,
             "--certificate", world.out)
    quiet = world.call(*watch)
    assert b"0 rows since the certificate" in quiet.stdout and b"quiet" in quiet.stdout
    world.add(rows(200, 100, 15), "--drawn", "audit", "--p", "0.1")  # as it was
    assert b"200 violate" in world.call(*watch).stdout
    hidden = [{"id": f"x{i}", "text": f"{text} x{i}", "labels": {"spam": 1}} for i, text in enumerate(texts(HAM, 120, 16))]
    world.add(hidden, "--drawn", "audit", "--p", "0.1")  # spam that reads like anything else
    assert b"alarm" in world.call(*watch, status=12).stdout
    world.train("--c", "0.01")
    assert b"certificate is about screen" in world.call(*watch, status=1).stderr


@pytest.mark.parametrize("arguments, word", [
    ([], b"--policy"), (["--policy", "p", "--labels", "l", "--screen", "s"], b"--miss"),
    (["--policy", "p", "--labels", "l", "--screen", "s", "--miss", "2"], b"--miss"),
    (["--policy", "p", "--labels", "l", "--screen", "s", "--miss", "0.1", "--confidence", "1"], b"--confidence"),
])
def test_wrong_use(run, double, arguments, word):
    done = run(double, "screen", "certify", *arguments)
    assert done.returncode == 2 and word in done.stderr


def test_missing_and_damaged_files(world):
    world.add(rows(50, 50, 10), *UNIFORM)
    assert b"s.screen" in world.certify("--miss", "0.1", status=1).stderr
    world.train()
    data = bytearray(world.screen.read_bytes())
    data[len(data) // 2] ^= 1
    world.screen.write_bytes(data)
    assert b"s.screen" in world.certify("--miss", "0.1", status=1).stderr
    assert not world.attempts()
    world.train()
    with world.labels.open("a") as file:
        file.write(json.dumps({"attempt": {**{"policy_sha256": "x"}}}) + "\n")  # another policy's: no business of ours
    world.certify("--miss", "0.3")
    attempt = {k: v for k, v in world.attempts()[-1].items() if k not in ("delta", "rate")}
    with world.labels.open("a") as file:
        file.write(json.dumps({"attempt": attempt}) + "\n")
    assert b"cannot be read" in world.certify("--miss", "0.2", status=1).stderr


def test_data_sets_alone_keep_no_account(world):
    world.add(rows(100, 100, 11), *UNIFORM)
    world.train()
    data = world.folder / "data.jsonl"
    done = world.run(world.double, "screen", "certify", "--policy", world.policy, "--labels", data, "--screen",
                     world.screen, "--miss", "0.1")
    assert done.returncode == 1 and b"--drawn uniform" in done.stderr
