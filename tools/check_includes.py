#!/usr/bin/env python3
"""Check the dependency order of the folders under src/: a file may include only headers of its own folder, of those
above it in the list, and the public ones."""
import os
import re
import sys

ORDER = ["base", "weights", "text", "kernels", "model", "engine", "policy", "reasoner", "input", "labels", "screen",
         "certify", "guard", "eval", "hub", "cli"]
ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")


def main():
    bad = 0
    for folder, _, names in os.walk(ROOT):
        own = os.path.relpath(folder, ROOT).split(os.sep)[0]
        for name in names:
            if not name.endswith((".c", ".h")):
                continue
            if own not in ORDER:
                sys.exit(f"src/{own}: not in the order of tools/check_includes.py")
            path = os.path.join(folder, name)
            for number, line in enumerate(open(path), 1):
                match = re.match(r'\s*#\s*include\s+"([^/"]+)/[^"]+"', line)
                target = match and match.group(1)
                if target in ORDER and ORDER.index(target) > ORDER.index(own):
                    print(f"{path}:{number}: src/{own} includes src/{target}, which stands above it")
                    bad += 1
    print(f"include order: {bad} violations")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
