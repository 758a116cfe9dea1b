#!/usr/bin/env python3
"""Do certificates hold on real data? Splits labelled sets by group: one part teaches, one certifies, one is held back;
trains and certifies with the command line, and counts on the held-back part what the certified threshold clears.

    bench/certify_data.py SAFEGUARD [--data FOLDER] [--seeds N] [--plan teach/certify] [--task NAME…]

FOLDER (default: data/ below $SG_SHARED, else ../shared/data) holds SET.jsonl.gz with {"id","text","labels","group"}.
With --plan kept one label file holds both parts and `screen train` keeps back what certifies (half); with a ratio such as
2/1 the parts are files of their own. A quarter of the groups is held back either way. Prints Markdown. Of a group of
several held-back rows each counts with its share, as the promise does.
"""
import argparse
import collections
import gzip
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TASKS = ["toxicchat/toxic", "toxicchat/jailbreak", "openai_moderation/any", "openai_moderation/sexual",
         "openai_moderation/hate", "openai_moderation/self_harm", "edos_sexism/sexism", "sms_spam/spam", "davidson/hate",
         "hatecheck/hate", "hatemoji_build/hate"]
HEADS_HAVE_SEEN = ("davidson", "hatecheck", "hatemoji_build")  # data/README.md: their rows prove nothing with the heads
PROMISES = (0.01, 0.05, 0.10)


def value(row, category):
    if category != "any":
        return row["labels"].get(category)
    known = list(row["labels"].values())
    return max(known) if known else None


def place(seed, group):
    return int(hashlib.sha256(f"{seed} {group}".encode()).hexdigest()[:8], 16) / 2**32


class Bench:
    def __init__(self, program, data, plan, folder):
        self.program, self.data, self.folder = program, data, folder
        self.plan = None if plan == "kept" else [float(x) for x in plan.split("/")]
        self.policy = folder / "policy.md"
        self.policy.write_text("# Task\n\nAnswer 1 when the content violates, else 0.\n")

    def run(self, *arguments, ok=(0,)):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode not in ok:
            raise SystemExit(f"certify_data.py: {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def import_rows(self, rows, labels, *how):
        path = self.folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.run("labels", "import", "--policy", self.policy, "--labels", labels, "--data", path, "--category", "x", *how)

    def split(self, rows, seed):
        teach = 0.75 if not self.plan else 0.75 * self.plan[0] / sum(self.plan)
        parts = collections.defaultdict(list)
        for row in rows:
            x = place(seed, row["group"])
            parts["teach" if x < teach else "certify" if x < 0.75 else "held"].append(row)
        return parts

    def one(self, rows, seed, *training):
        """[(promise, claim, miss on held-back rows, violating groups there, benign share cleared there)]"""
        for path in self.folder.glob("*.l"):
            path.unlink()
        parts, screen, labels = self.split(rows, seed), self.folder / "s.screen", self.folder / "c.l"
        uniform = ("--drawn", "uniform", "--p", "1")
        if self.plan:
            self.import_rows(parts["teach"], self.folder / "t.l")
            self.import_rows(parts["certify"], labels, *uniform)
        else:
            self.import_rows(parts["teach"], labels, *uniform)
        self.run("screen", "train", "--policy", self.policy, "--labels", self.folder / "t.l" if self.plan else labels,
                 "--threads", 1, "--out", screen, *training)
        held = self.folder / "held.jsonl"
        held.write_text("".join(json.dumps({"id": str(i), "text": row["text"]}) + "\n"
                                for i, row in enumerate(parts["held"])))
        scores = [json.loads(line) for line in self.run("screen", "score", screen, held).splitlines()]
        return [self.judge(parts["held"], scores, promise, labels, screen) for promise in PROMISES]

    def judge(self, held, scores, promise, labels, screen):
        attempts = self.folder / f"{promise}.l"  # each promise as if it were the only one asked for
        out = self.run("screen", "certify", "--policy", self.policy, "--labels", labels, "--screen", screen, "--miss",
                       promise, "--spend", 1, "--attempts", attempts, "--json", ok=(0, 1))
        miss = json.loads(out)["certificate"]["categories"][0]["miss"]
        if not miss["certified"]:
            return promise, miss, None, 0, None
        groups = {0: collections.defaultdict(list), 1: collections.defaultdict(list)}
        for row, score in zip(held, scores):
            cleared = score["margin"] < miss["threshold"] and not score["evasive"]
            groups[row["labels"]["x"]][row["group"]].append(cleared)
        share = {side: [statistics.fmean(rows) for rows in groups[side].values()] for side in (0, 1)}
        return promise, miss, sum(share[1]), len(share[1]), statistics.fmean(share[0])

    def rows(self, task):
        name, category = task.split("/")
        with gzip.open(self.data / f"{name}.jsonl.gz", "rt") as file:
            rows = [json.loads(line) for line in file]
        return [{"id": row["id"], "text": row["text"], "labels": {"x": value(row, category)}, "group": row["group"]}
                for row in rows if value(row, category) is not None]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    shared = os.environ.get("SG_SHARED", ROOT.parent / "shared")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(shared) / "data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plan", default="kept")
    parser.add_argument("--task", nargs="*", default=TASKS)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"certify_data.py: no data at {options.data} (--data, SG_SHARED)")
    print("| task | promise | certified | violating rows | missed of held-back violating groups | worst split | "
          f"benign cleared, held back |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(os.path.abspath(options.program), options.data, options.plan, pathlib.Path(folder))
        for task in options.task:
            rows = bench.rows(task)
            training = ["--no-prior"] if task.startswith(HEADS_HAVE_SEEN) else []
            results = [bench.one(rows, seed, *training) for seed in range(options.seeds)]
            for at, promise in enumerate(PROMISES):
                tries = [result[at] for result in results]
                done = [t for t in tries if t[2] is not None]
                counted = statistics.fmean(t[1]["counted"] for t in tries)
                if not done:
                    print(f"| {task} | {promise:.0%} | 0 of {len(tries)} | {counted:.0f} of at least "
                          f"{tries[0][1]['needed']} | | | |", flush=True)
                    continue
                missed, groups = sum(t[2] for t in done), sum(t[3] for t in done)
                print(f"| {task} | {promise:.0%} | {len(done)} of {len(tries)} | {counted:.0f} | {missed:.0f} of {groups}: "
                      f"{missed / groups:.1%} | {max(t[2] / t[3] for t in done):.1%} | "
                      f"{statistics.fmean(t[4] for t in done):.1%} |", flush=True)


if __name__ == "__main__":
    main()
