#!/usr/bin/env python3
"""Time llama.cpp, or its fork ik_llama.cpp, on a GGUF file, in the shape of `safeguard bench --json`.

Needs: llama-bench of a llama.cpp build (for example from the source in llama-cpp-python's sdist, vendor/llama.cpp:
cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON && cmake --build build -t llama-bench); given by
--llama-bench, LLAMA_BENCH or PATH. Nothing but Python's own library.
Prints one JSON object: {"prefill": [{"tokens", "tok_s"}], "decode": [{"depth", "seqs", "tok_s"}], "load_s",
"peak_rss_mb", "engine"}. Rates are medians of the repetitions. Load is the time of the whole process less that of its
single token, with a warm page cache (the timed runs come first)."""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import time


def llama_bench(program, model, threads, arguments):
    command = [program, "-m", model, "-t", str(threads), "-ngl", "0", "-o", "json", *arguments]
    start = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout), time.monotonic() - start


def no_warm_up(program):
    """The fork writes the same option in another way."""
    usage = subprocess.run([program, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return ["--no-warmup"] if "--no-warmup" in usage else ["-w", "0"]


def rate(test):
    return round(statistics.median(test["samples_ts"]), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--llama-bench", default=os.environ.get("LLAMA_BENCH") or shutil.which("llama-bench"))
    parser.add_argument("--prefill", type=int, nargs="*", default=[128, 512])
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode at depth 0")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="the rest goes to llama-bench")
    args = parser.parse_args()
    if not args.llama_bench:
        parser.error("no llama-bench: give --llama-bench or set LLAMA_BENCH")

    tests = ["-p", ",".join(map(str, args.prefill)), "-n", str(args.decode), "-r", str(args.repetitions)]
    results, _ = llama_bench(args.llama_bench, args.model, args.threads, tests + args.arguments)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    one, wall = llama_bench(args.llama_bench, args.model, args.threads,
                            ["-p", "1", "-n", "0", "-r", "1", *no_warm_up(args.llama_bench), *args.arguments])
    print(json.dumps({
        "prefill": [{"tokens": test["n_prompt"], "tok_s": rate(test)} for test in results if test["n_gen"] == 0],
        "decode": [{"depth": test.get("n_depth", 0), "seqs": 1, "tok_s": rate(test)} for test in results if test["n_gen"]],
        "load_s": round(wall - one[0]["avg_ns"] / 1e9, 2), "peak_rss_mb": round(peak),
        "engine": {"name": "llama.cpp", "commit": results[0].get("build_commit"),
                   "number": results[0].get("build_number"), "threads": args.threads,
                   "cache": [results[0].get("type_k"), results[0].get("type_v")], "arguments": args.arguments},
    }))


if __name__ == "__main__":
    main()
