#!/usr/bin/env python3
"""Write tests/unit/data/binomial.txt from SciPy: values of the incomplete beta function, and exact bounds.

    oracle_certify.py > tests/unit/data/binomial.txt        (needs scipy; not part of the build)
"""
import scipy
from scipy.stats import beta, binom
from scipy.special import betainc

print(f"# SciPy {scipy.__version__}, tools/oracle_certify.py")
print("# beta a b x I_x(a,b)")
for a, b in [(0.5, 0.5), (1, 1), (2, 5), (30, 2), (59, 1), (3, 400), (388, 13), (1000, 1000), (20000, 3),
             (99900, 101), (5e5, 5e5), (999000, 1001)]:
    mean = a / (a + b)
    spread = (a * b / ((a + b) ** 2 * (a + b + 1))) ** 0.5
    for k in (-4, -1, 0, 1, 4):
        x = mean + k * spread
        if 0 < x < 1:
            print(f"beta {a!r} {b!r} {x!r} {float(betainc(a, b, x))!r}")
print("# bound successes trials delta lower upper")
for k, n in [(0, 1), (0, 29), (0, 59), (1, 93), (3, 153), (5, 208), (10, 336), (12, 400), (7, 7), (299, 300),
             (500, 1000), (40, 4000), (1000, 100000), (3, 1000000)]:
    for delta in (0.05, 0.025, 0.01, 1e-4, 0.5):
        lower = float(beta.ppf(delta, k, n - k + 1)) if k else 0.0
        upper = float(beta.ppf(1 - delta, k + 1, n - k)) if k < n else 1.0
        print(f"bound {k} {n} {delta!r} {lower!r} {upper!r}")
print("# rows delta rate wrong: the fewest rows of which so many wrong ones prove the rate")
for delta in (0.05, 0.04, 0.01):
    for rate in (0.1, 0.05, 0.02, 0.01):
        for k in (0, 1, 3, 5, 10):
            n = k + 1
            while binom.cdf(k, n, rate) > delta:
                n += 1
            print(f"rows {delta!r} {rate!r} {k} {n}")
