#!/usr/bin/env python3
"""safeguard beside llama.cpp and its forks on the same file, interleaved, as a Markdown table for each.

    bench/compare.py --model M.gguf --rounds 5 --peer 'llama.cpp=PATH/llama-bench' --peer 'ik_llama.cpp=PATH/llama-bench -rtr 1'

Each round runs all engines, in turns of who goes first, so that a machine that gets slower hits all; medians over
the rounds, with the range behind them. Run it on an idle machine: threads wait for each other at every matrix, so a
neighbour costs far more than its share. llama.cpp repacks MXFP4 and Q4 matrices into memory of its own (as large as the
file) unless its llama-bench gets '--repack 0'.

Needs: a built `safeguard` (--safeguard, default build/safeguard) and llama-bench (see tools/bench_llamacpp.py). Writes
Markdown to standard output, progress to standard error."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8",
         "asimddp", "i8mm", "sve")


def machine():
    info = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    flags = set(info.get("flags", info.get("Features", "")).split())
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    huge = pages.read_text().split("[")[1].split("]")[0] if pages.exists() else "unknown"
    return {"cpu": info.get("model name", platform.machine()), "family": info.get("cpu family"),
            "model": info.get("model"), "cores": len(os.sched_getaffinity(0)),
            "flags": [flag for flag in FLAGS if flag in flags], "memory_gb": round(memory / 2**20, 1),
            "huge_pages": huge, "kernel": platform.release(), "load": os.getloadavg()[0]}


def run(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"exit status {done.returncode}: {' '.join(map(str, command))}")
    return json.loads(done.stdout)


def figures(result):
    """One result → {(order, name, unit, more is better): value}"""
    out = {(0, f"prefill {p['tokens']}", "tok/s", True): p["tok_s"] for p in result["prefill"]}
    out |= {(1, f"decode, depth {d['depth']}, {d['seqs']} sequence{'s' if d['seqs'] > 1 else ''}", "tok/s", True):
            d["tok_s"] for d in result["decode"]}
    out[2, "load", "s", False], out[3, "peak memory", "MB", False] = result["load_s"], result["peak_rss_mb"]
    return out


def table(ours, theirs, peer):
    """Lists of figures() → Markdown; rows that only one engine has are left out."""
    def cell(values):
        return f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"

    lines = [f"| | safeguard | {peer} | ratio |", "|---|---|---|---|"]
    for key in sorted(set(ours[0]) & set(theirs[0]), key=lambda key: (key[0], len(key[1]), key[1])):
        _, name, unit, more = key
        a, b = [row[key] for row in ours], [row[key] for row in theirs]
        low, high = (statistics.median(b), statistics.median(a)) if more else (statistics.median(a), statistics.median(b))
        ratio = f"{high / low:.2f}" if low > 0 else "–"
        lines.append(f"| {name}, {unit} | {cell(a)} | {cell(b)} | {ratio} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--safeguard", default=ROOT / "build" / "safeguard", type=pathlib.Path)
    parser.add_argument("--safeguard-arguments", default="", help="as one string, for example '--no-repack'")
    parser.add_argument("--peer", action="append", default=[], help="'NAME=PATH of its llama-bench, and arguments for it'")
    parser.add_argument("--json", type=pathlib.Path, help="also write every single result here")
    args = parser.parse_args()

    ours = [args.safeguard, "bench", "--model", args.model, "--threads", args.threads, "--json",
            *args.safeguard_arguments.split()]
    commands = {"safeguard": ours}
    for peer in args.peer:
        name, _, program = peer.partition("=")
        path, *arguments = program.split()
        commands[name] = [sys.executable, ROOT / "tools" / "bench_llamacpp.py", "--model", args.model, "--threads",
                          args.threads, "--llama-bench", path, *(["--arguments", *arguments] if arguments else [])]
    raw = {name: [] for name in commands}
    where = machine()
    for turn in range(args.rounds):
        for name in list(commands)[:: 1 if turn % 2 == 0 else -1]:
            print(f"round {turn + 1} of {args.rounds}: {name}", file=sys.stderr)
            raw[name].append(run(commands[name]))
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "commands": {k: [str(p) for p in v] for k, v in
                                         commands.items()}, "results": raw}, indent=1) + "\n")
    print(f"{where['cpu']} (family {where['family']}, model {where['model']}), {where['cores']} cores, "
          f"{where['memory_gb']} GB; {' '.join(where['flags'])}; huge pages {where['huge_pages']}; "
          f"Linux {where['kernel']}; load before {where['load']:.1f}.\n\n"
          f"{pathlib.Path(args.model).name}, {args.threads} threads, {args.rounds} interleaved rounds: median "
          f"(lowest–highest); a ratio above 1 is in favour of safeguard.")
    for name in list(commands)[1:]:
        engine = raw[name][0]["engine"]
        print(f"\n{name} {engine['commit']} (KV {'/'.join(engine['cache'])}) {' '.join(engine['arguments'])}\n")
        print(table([figures(r) for r in raw["safeguard"]], [figures(r) for r in raw[name]], name))


if __name__ == "__main__":
    main()
