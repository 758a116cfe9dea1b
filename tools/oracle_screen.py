#!/usr/bin/env python3
"""Expected values for the screen's tests, by an implementation that shares nothing with the C code but its definition:
n-gram buckets in plain Python, the fit by scikit-learn, Platt's sigmoid by scipy.

    python3 -m venv V && V/bin/pip install numpy scipy scikit-learn
    V/bin/python tools/oracle_screen.py > tests/unit/data/screen.jsonl

One JSON object a line: {"features": …} for a text, one {"fit": …}, one {"calibration": …}."""
import json
import math
import pathlib
import random
import struct

import numpy as np
import scipy
import scipy.optimize
import scipy.special
import sklearn
from sklearn.linear_model import LogisticRegression

BITS = 18
MASK = (1 << 64) - 1
STEP, SPREAD, PAIR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0xD6E8FEB86659FD93
GRAM_SEED, WORD_SEED = 0x243F6A8885A308D3, 0x13198A2E03707344
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def bucket(h):
    h ^= h >> 32
    return ((h * SPREAD) & MASK) >> (64 - BITS)


def gram(chars):
    h = (GRAM_SEED + ord(chars[0])) & MASK
    for c in chars[1:]:
        h = (h * STEP + ord(c)) & MASK
    return bucket(h)


def poly(chars):
    h = WORD_SEED
    for c in chars:
        h = ((h + ord(c)) * STEP) & MASK
    return h


def alone(c):
    o = ord(c)
    return 0x3040 <= o <= 0x30FF or 0x3400 <= o <= 0x9FFF or 0x2600 <= o <= 0x27BF or 0x1F000 <= o <= 0x1FAFF


def sign(c):
    o = ord(c)
    if o < 128:
        return not (c.isalnum() or c == "_")
    return 0x2010 <= o <= 0x206F or 0x3001 <= o <= 0x303F or o in (0xBF, 0xA1, 0xAB, 0xBB, 0x20AC)


def letter(c):
    return not sign(c) and not alone(c)


def words_of(run):
    """Words: letters, digits, underscores, and an apostrophe between two of them; ideographs and emoji by themselves."""
    out, word = [], ""
    for i, c in enumerate(run):
        if alone(c):
            if word:
                out.append(word)
            out.append(c)
            word = ""
        elif letter(c) or (c == "'" and word and i + 1 < len(run) and letter(run[i + 1])):
            word += c
        elif word:
            out.append(word)
            word = ""
    return out + [word] if word else out


def lexemes_of(run):
    out, lexeme, kind = [], "", None
    for c in run + " ":
        k = None if c in " _" or not letter(c) else "digit" if c in "0123456789" else "letter"
        if k != kind and lexeme:
            out.append(lexeme)
            lexeme = ""
        if k:
            lexeme += c
        kind = k
    return out


def features(text):
    grams, trigrams, words, lexemes = [], [], [], []
    last = None
    lower = "".join(c.lower() if ord(c) < 128 else c for c in text)
    for run in lower.split():
        padded = f" {run} "
        for n in (2, 3, 4, 5):
            for i in range(len(padded) - n + 1):
                (trigrams if n == 3 else grams).append(gram(padded[i:i + n]))
        for word in words_of(run):
            h = poly(word)
            words.append(bucket(h))
            if last is not None:
                words.append(bucket((last * PAIR + h) & MASK))
            last = h
        lexemes += [poly(x) for x in lexemes_of(run)]
    return grams, trigrams, words, lexemes


def read_vectors():
    data = (DATA / "word_vectors.bin").read_bytes()
    n, dims = struct.unpack_from("<II", data, 8)
    scale = np.frombuffer(data, "<f4", dims, 32).astype(float)
    hashes = np.frombuffer(data, "<u8", n, 32 + 4 * dims)
    table = np.frombuffer(data, "i1", n * dims, 32 + 4 * dims + 8 * n).reshape(n, dims)
    return {int(h): i for i, h in enumerate(hashes)}, table.astype(float) * scale


def read_prior():
    """bucket → weights of the heads."""
    data = (DATA / "prior_heads.bin").read_bytes()
    bits, heads, n = struct.unpack_from("<III", data, 8)
    assert bits == BITS
    scale = np.frombuffer(data, "<f4", heads, 40).astype(float)
    buckets = np.frombuffer(data, "<u4", n, 40 + 4 * heads)
    weights = np.frombuffer(data, "i1", n * heads, 40 + 4 * heads + 4 * n).reshape(n, heads)
    return dict(zip(buckets.tolist(), weights * scale)), heads


def idf8(df, n, lowest_df):
    highest = math.log((1 + n) / (1 + lowest_df)) + 1
    return max(1, math.floor(255 * (math.log((1 + n) / (1 + df)) + 1) / highest + 0.5))


def blocks(text, index):
    grams, trigrams, words, lexemes = features(text)
    return set(grams) | set(trigrams), set(words), {index[x] for x in lexemes if x in index}


def fit_case(with_prior):
    """A toy corpus; margins of an unweighted fit at C = 10 and vector scale 0.6, weights not rounded to 8 bits."""
    prior, n_heads = read_prior() if with_prior else ({}, 0)
    random.seed(4)
    bad = "cheap pills winner prize claim cash offer urgent viagra casino bonus loan".split()
    good = "meeting lunch tomorrow report school weather garden music train dinner paper friend".split()
    both = "the a you we is are to for with this that please now".split()
    texts, values = [], []
    for i in range(80):
        topic = bad if i % 4 == 0 else good
        words = [random.choice(topic if random.random() < 0.4 else both) for _ in range(random.randint(3, 12))]
        texts.append(" ".join(words))
        values.append(int(topic is bad))
    index, table = read_vectors()
    rows = [blocks(t, index) for t in texts]
    n = len(texts)
    df = {}
    for chars, words, _ in rows:
        # the C code counts a bucket once for each of grams, trigrams and words that have it
        for b in chars:
            df[b] = df.get(b, 0) + 1
        for b in words:
            df[b] = df.get(b, 0) + 1
    ldf = {}
    for _, _, lex in rows:
        for w in lex:
            ldf[w] = ldf.get(w, 0) + 1

    def dense(lex):
        q = {w: idf8(ldf.get(w, 0), n, 0) for w in lex}
        norm = math.sqrt(sum(v * v for v in q.values())) or 1
        return sum((v / norm * table[w] for w, v in q.items()), np.zeros(table.shape[1]))

    d = np.array([dense(r[2]) for r in rows])
    mean = d.mean(0)
    unit = 1 / ((np.sqrt(((d - mean) ** 2).mean(0)) + 1e-6) * math.sqrt(d.shape[1]))
    columns = {b: i for i, b in enumerate(sorted(df))}

    def raw(r):
        x, heads = np.zeros(len(columns)), np.zeros(n_heads)
        for part in r[:2]:
            q = {b: idf8(df[b], n, 1) if b in df else 255 for b in part if b in df or b in prior}
            norm = math.sqrt(sum(v * v for v in q.values())) or 1
            for b, v in q.items():
                if b in columns:
                    x[columns[b]] += v / norm
                if b in prior:
                    heads += v / norm * prior[b]
        return x, heads

    h = np.array([raw(r)[1] for r in rows])
    head_mean, head_sd = h.mean(0), h.std(0)

    def row(r):
        x, heads = raw(r)
        heads = (heads - head_mean) / (head_sd + 1e-6) * 0.3 / math.sqrt(max(n_heads, 1))
        return np.concatenate([x, (dense(r[2]) - mean) * unit * 0.6, heads])

    def fit(x, c):
        return LogisticRegression(C=c, solver="liblinear", tol=1e-6, max_iter=1000, intercept_scaling=1).fit(x, values)

    # the mean of two fits: on everything, and on n-grams alone
    x = np.array([row(r) for r in rows])
    full, plain = fit(x, 10), fit(x[:, :len(columns)], 30)
    probes = ["claim your prize now", "lunch tomorrow with a friend", "gambling jackpot for you", "breakfast at noon",
              "the the the", "zzzz qqqq"]
    probed = np.array([row(blocks(t, index)) for t in probes])
    margins = [float(m) for m in (full.decision_function(probed) + plain.decision_function(probed[:, :len(columns)])) / 2]
    return {"texts": texts, "values": values, "c": 10, "vector_scale": 0.6, "probes": probes, "margins": margins}


def calibration_case():
    rng = np.random.default_rng(7)
    margin = rng.normal(-1, 2, 300)
    violates = rng.random(300) < scipy.special.expit(1.5 * margin + 0.5)
    weight = rng.choice([1.0, 2.0, 10.0], 300)
    unit = weight * len(weight) / weight.sum()
    positive = unit[violates].sum()
    negative = len(weight) - positive
    target = np.where(violates, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(p):
        z = p[0] * margin + p[1]
        return float((unit * (np.logaddexp(0, z) - target * z)).sum())

    best = scipy.optimize.minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12,
                                                                              "maxiter": 10000})
    return {"margin": margin.tolist(), "violates": violates.astype(int).tolist(), "weight": weight.tolist(),
            "slope": float(best.x[0]), "intercept": float(best.x[1])}


TEXTS = ["", "a", "I", "Hello, world!", "don't 'quote' rock'n'roll x' '", "  spaces\t and\nbreaks  ",
         "FREE entry 2 a wkly comp!!! txt_me 4u2", "supercalifragilisticexpialidocious-and-so-on-and-so-on",
         "Привет, МИР друзья", "你好世界 hello", "naïve café ¿qué?", "nice 😀 emoji😀😀 end", "¡olé! «bien» 5€",
         "www.example.com/a?b=c&d=e#f", "w" * 100, "to be or not to be " * 3]


def main():
    print(json.dumps({"origin": f"tools/oracle_screen.py: scikit-learn {sklearn.__version__}, scipy "
                                f"{scipy.__version__}, numpy {np.__version__}"}))
    index, _ = read_vectors()
    for text in TEXTS:
        grams, trigrams, words, lexemes = features(text)
        print(json.dumps({"features": {"text": text, "grams": sorted(grams), "trigrams": sorted(trigrams),
                                       "words": sorted(words),
                                       "lexemes": sorted(index[x] for x in lexemes if x in index)}}))
    print(json.dumps({"fit": fit_case(False)}))
    print(json.dumps({"fit": fit_case(True)}))
    print(json.dumps({"calibration": calibration_case()}))


if __name__ == "__main__":
    main()
