#!/usr/bin/env python3
"""Write tests/unit/data/metrics.json: figures of small sets of rows, computed by scikit-learn and SciPy.

Needs numpy, scipy and scikit-learn; run by hand. The tests compare our figures with this file.
    tools/oracle_metrics.py > tests/unit/data/metrics.json
"""
import json
import math
import warnings

import numpy
import scipy
import sklearn
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

warnings.filterwarnings("ignore")
BINS = 15


def ece(truth, score):
    """By its definition; scikit-learn has none. Bins of equal width, closed on the left."""
    at = numpy.minimum((score * BINS).astype(int), BINS - 1)
    return sum(abs(score[at == b].mean() - truth[at == b].mean()) * (at == b).mean()
               for b in range(BINS) if (at == b).any())


def number(value):
    return None if value is None or math.isnan(value) else float(value)


def case(name, truth, decision, score):
    """decision: 1, 0, or None for undecided; score: a number or None."""
    truth = numpy.array(truth)
    flagged = numpy.array([d == 1 for d in decision])
    undecided = numpy.array([d is None for d in decision])
    scored = numpy.array([s is not None for s in score])
    t, s = truth[scored], numpy.array([x for x in score if x is not None], dtype=float)
    pos, neg = truth.sum(), (1 - truth).sum()
    figures = dict.fromkeys(["precision", "recall", "f1", "held", "fpr", "undecided", "auprc", "auroc", "ece"])
    if flagged.any():
        figures["precision"] = precision_score(truth, flagged)
    if pos:
        figures["recall"] = recall_score(truth, flagged)
        # an undecided row is not flagged: its violation was not found
        figures["f1"] = sklearn.metrics.f1_score(truth, flagged)
        figures["held"] = recall_score(truth, flagged | undecided)
    if neg:
        figures["fpr"] = ((truth == 0) & flagged).sum() / neg
    if len(truth):
        figures["undecided"] = undecided.mean()
    if t.sum():
        figures["auprc"] = average_precision_score(t, s)
        if t.sum() < len(t):
            figures["auroc"] = roc_auc_score(t, s)
    if len(s) and s.min() >= 0 and s.max() <= 1:
        figures["ece"] = ece(t, s)
    return {"name": name, "truth": [int(x) for x in truth], "decision": list(decision),
            "score": [number(x) for x in score], "figures": {k: number(v) for k, v in figures.items()}}


def random_case(name, seed, n, prevalence, step, undecided, unscored):
    rng = numpy.random.default_rng(seed)
    truth = (rng.random(n) < prevalence).astype(int)
    score = numpy.clip(rng.normal(0.35 + 0.3 * truth, 0.2), 0, 1)
    score = numpy.round(score / step) * step if step else score
    score = numpy.clip(numpy.round(score, 6), 0, 1)
    decision = [None if rng.random() < undecided else int(x >= 0.5) for x in score]
    scores = [None if rng.random() < unscored else float(x) for x in score]
    return case(name, truth.tolist(), decision, scores)


def main():
    cases = [
        case("one of each", [1, 0, 1, 0], [1, 1, 0, 0], [0.9, 0.8, 0.3, 0.1]),
        case("all scores tied", [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0.5] * 5),
        case("ties at the top", [0, 1, 1, 0, 1], [1, 1, 1, 0, 0], [0.9, 0.9, 0.9, 0.4, 0.2]),
        case("perfect", [1, 1, 0, 0], [1, 1, 0, 0], [1, 0.75, 0.25, 0]),
        case("worst", [1, 1, 0, 0], [0, 0, 1, 1], [0, 0.25, 0.75, 1]),
        case("no positives", [0, 0, 0], [1, 0, 0], [0.9, 0.2, 0.1]),
        case("no negatives", [1, 1, 1], [1, 0, None], [0.9, 0.2, 0.1]),
        case("nothing flagged", [1, 0, 0], [0, 0, 0], [0.4, 0.2, 0.1]),
        case("all undecided", [1, 0, 1], [None, None, None], [None, None, None]),
        case("margins, not probabilities", [1, 0, 1, 0, 1], [1, 0, 1, 1, 0], [3.5, -2.0, 0.25, 0.75, -1.5]),
        case("edges of bins", [0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        case("some without a score", [1, 1, 0, 0, 1], [1, None, 0, None, 0], [0.8, None, 0.3, None, 0.3]),
        random_case("200 rows", 1, 200, 0.3, 0, 0.05, 0.05),
        random_case("300 rows in steps of 0.1", 2, 300, 0.2, 0.1, 0, 0),
        random_case("250 rows, rare", 3, 250, 0.02, 0.05, 0.1, 0),
        random_case("100 rows in steps of 0.5", 4, 100, 0.5, 0.5, 0.2, 0.3),
    ]
    pairs = [(0, 1), (1, 1), (3, 9), (9, 3), (0, 7), (25, 40), (120, 80), (1000, 1100), (5, 5), (300, 0)]
    shares = [(0, 10), (10, 10), (1, 10), (7, 12), (0, 1), (1, 1), (50, 1000), (995, 1000), (3, 7)]
    print(json.dumps({
        "origin": f"tools/oracle_metrics.py with scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}",
        "cases": cases,
        "mcnemar": [{"only_a": a, "only_b": b, "p": binomtest(a, a + b, 0.5).pvalue} for a, b in pairs],
        "shares": [{"part": k, "whole": n, "confidence": c, "low": ci.low, "high": ci.high}
                   for k, n in shares for c in (0.95, 0.99)
                   for ci in [binomtest(k, n).proportion_ci(c, "exact")]],
    }, separators=(",", ":")))


if __name__ == "__main__":
    main()
