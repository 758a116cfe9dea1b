#!/usr/bin/env python3
"""Write tests/unit/data/nfkc_casefold.txt with ICU: what NFKC_Casefold makes of every character and of random strings.

    tools/oracle_nfkc.py > tests/unit/data/nfkc_casefold.txt

ICU's normaliser is not ours and needs no data of ours: libicuuc, called by ctypes. Characters that its Unicode version
does not know are left out. For every block of 256 code points with known ones a line

    block FIRST KNOWN HASH     KNOWN: 64 hexadecimal digits, bit i of byte k is code point FIRST + 8 k + i
                               HASH: 64-bit FNV-1a of what they become as UTF-8, each followed by a zero byte

and for every string a line `string INPUT OUTPUT`, both UTF-8 in hexadecimal.
"""
import ctypes
import ctypes.util
import glob
import random
import re
import sys


def load():
    paths = sorted(glob.glob("/usr/lib/*/libicuuc.so.*"))
    for path in paths:
        version = re.search(r"libicuuc\.so\.(\d+)$", path)
        if version:
            return ctypes.CDLL(path), version.group(1)
    sys.exit("libicuuc is not installed")


icu, version = load()
call = lambda name: getattr(icu, f"{name}_{version}")
error = ctypes.c_int(0)
call("unorm2_getNFKCCasefoldInstance").restype = ctypes.c_void_p
instance = ctypes.c_void_p(call("unorm2_getNFKCCasefoldInstance")(ctypes.byref(error)))


def casefold(text):
    units = text.encode("utf-16-le")
    out = ctypes.create_string_buffer(2 * 40 * len(text) + 64)
    error.value = 0
    n = call("unorm2_normalize")(instance, units, len(units) // 2, out, len(out) // 2, ctypes.byref(error))
    if error.value > 0:
        sys.exit(f"ICU error {error.value}")
    return out.raw[: 2 * n].decode("utf-16-le")


def known(code):
    return not 0xD800 <= code < 0xE000 and call("u_isdefined")(code) != 0


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def strings():
    pick = random.Random(16)
    marks = [c for c in range(0x300, 0x3100) if known(c) and call("u_getCombiningClass")(c)]
    marks += [0x345, 0x3099, 0x309A, 0x1161, 0x11A8, 0x9BE, 0xDDF, 0x200D, 0xAD, 0xFE0F]
    letters = [c for c in range(0x20, 0x30000) if known(c)]
    composing = [c for c in range(0xC0, 0x2000) if known(c) and len(casefold(chr(c))) < 3]
    for _ in range(600):
        text = []
        for _ in range(pick.randint(1, 6)):
            text.append(pick.choice(composing if pick.random() < 0.6 else letters))
            text += [pick.choice(marks) for _ in range(pick.choice((0, 0, 1, 1, 2, 3, 5)))]
        yield "".join(map(chr, text))


def main():
    numbers = (ctypes.c_uint8 * 4)()
    call("u_getUnicodeVersion")(numbers)
    print(f"# Made by tools/oracle_nfkc.py with ICU {version}, Unicode {numbers[0]}.{numbers[1]}. NFKC_Casefold.")
    for first in range(0, 0x110000, 256):
        codes = [c for c in range(first, first + 256) if known(c)]
        if not codes or call("u_charType")(codes[0]) == 17:  # private use: nothing becomes of it
            continue
        if all(casefold(chr(c)) == chr(c) for c in codes) and first % 4096:
            continue  # of the many blocks in which nothing changes a sixteenth
        bits = bytearray(32)
        for c in codes:
            bits[(c - first) // 8] |= 1 << (c - first) % 8
        data = b"".join(casefold(chr(c)).encode() + b"\0" for c in codes)
        print(f"block {first:x} {bits.hex()} {fnv(data):016x}")
    for text in strings():
        print("string", text.encode().hex(), casefold(text).encode().hex())


if __name__ == "__main__":
    main()
