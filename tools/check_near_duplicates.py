#!/usr/bin/env python3
"""Compare `labels import --group near-duplicate` with the exact answer: check_near_duplicates.py BINARY DATA.jsonl[.gz]…

The exact answer compares every pair of texts that share a five-character piece, so it takes minutes on some thousand
rows. Prints, for each file: pairs of similarity 0.7 or more, how many of them stand in one group, the number of clusters
by either, and how many exact clusters were wrongly joined to another. Exit status 1 when fewer than 98 % of the pairs were
found or more than 1 % of the clusters were joined.
"""

import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

SIMILAR = 0.7
PIECE = 5


def fold(text):
    """Lower-case ASCII, digits as 0, everything else of ASCII as one blank; as src/labels/cluster.c."""
    out, gap = [], False
    for c in text:
        if "A" <= c <= "Z":
            c = c.lower()
        elif "0" <= c <= "9":
            c = "0"
        elif c < "\x80" and not "a" <= c <= "z":
            gap = True
            continue
        if gap and out:
            out.append(" ")
        gap = False
        out.append(c)
    return "".join(out)


def groups_of_program(binary, texts):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "policy.md").write_text("# Any\n\nAnswer with exactly one character: 1 or 0.\n")
        (folder / "in.jsonl").write_text("".join(json.dumps({"text": text, "label": 0}) + "\n" for text in texts))
        subprocess.run([binary, "labels", "import", "--policy", folder / "policy.md", "--labels", folder / "out.jsonl",
                        "--data", folder / "in.jsonl", "--group", "near-duplicate"], check=True,
                       stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in open(folder / "out.jsonl")]
    assert [line["text"] for line in lines] == texts
    return [line.get("group", line["content_sha256"]) for line in lines]


def check(binary, path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    texts = list(dict.fromkeys(text for text in (json.loads(line)["text"] for line in opened) if text.strip()))
    ours = groups_of_program(binary, texts)
    parents = list(range(len(texts)))

    def first(i):
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    sets, holders, n_pairs, n_found = [], collections.defaultdict(list), 0, 0
    for i, text in enumerate(map(fold, texts)):
        pieces = {text[k:k + PIECE] for k in range(len(text) - PIECE + 1)} or {text}
        for k, shared in collections.Counter(k for piece in pieces for k in holders[piece]).items():
            if shared / (len(pieces) + len(sets[k]) - shared) >= SIMILAR:
                parents[first(i)] = first(k)
                n_pairs += 1
                n_found += ours[i] == ours[k]
        sets.append(pieces)
        for piece in pieces:
            holders[piece].append(i)
    exact = {first(i) for i in range(len(texts))}
    members = collections.defaultdict(set)
    for i, group in enumerate(ours):
        members[group].add(first(i))
    joined = sum(len(inside) - 1 for inside in members.values())
    print(f"{path}: {len(texts)} texts, {n_pairs} pairs, {n_found} found; {len(exact)} clusters, {len(members)} of the "
          f"program, {joined} wrongly joined")
    return n_found >= 0.98 * n_pairs and joined <= 0.01 * len(exact)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(0 if all([check(sys.argv[1], path) for path in sys.argv[2:]]) else 1)


if __name__ == "__main__":
    main()
