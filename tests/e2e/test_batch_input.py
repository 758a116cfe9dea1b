"""Rows of a batch: what is read, what is refused by name, and what becomes an error of one row only."""

import csv
import gzip
import io
import json

import pytest


def texts(done):
    return [(row["id"], row.get("output", row.get("error"))) for row in done.rows]


def good(done):
    assert done.returncode == 0, done.stderr
    return texts(done)


def refused(done, *words):
    assert done.returncode in (1, 2), (done.returncode, done.stdout)
    assert done.stdout == b""
    for word in words:
        assert word in done.stderr.decode(), done.stderr
    return done


# --- ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw, expected", [
    ('"007"', "007"), ("7", "7"), ("1e3", "1e3"), ("0.10", "0.10"), ("-0", "-0"),
    ("123456789012345678901234567890", "123456789012345678901234567890"), ("9007199254740993", "9007199254740993"),
    ('"caf\\u00e9"', "café"), ('"a \\"b\\""', 'a "b"'), (' 5 ', "5"),
])
def test_jsonl_ids_keep_their_digits(batch, raw, expected):
    assert good(batch('{"x":{"id":1,"y":["}",2]},"id":%s,"text":"a"}\n' % raw)) == [(expected, "a")]


@pytest.mark.parametrize("raw", ["007", "1e3", "0.10", "12345678901234567890123", " 7", "a;b"])
def test_csv_ids_keep_their_digits(batch, raw):
    assert good(batch(f"id,text\n{raw},a\n", "r.csv")) == [(raw, "a")]


def test_key_may_be_spelled_with_escapes(batch):
    assert good(batch('{"\\u0069d":12345678901234567890,"te\\u0078t":"a"}')) == [("12345678901234567890", "a")]


def test_rows_without_ids_are_numbered(batch):
    assert good(batch('{"text":"a"}\n\n{"text":"b"}\n')) == [("1", "a"), ("2", "b")]
    assert good(batch("text\na\n\nb\n", "r.csv")) == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize("name, rows, first, second", [
    ("r.jsonl", '{"id":"a","text":"x"}\n{"id":"b","text":"x"}\n\n{"id":"a","text":"y"}\n', 1, 4),
    ("r.csv", 'id,text\na,"x\nx"\nb,x\na,y\n', 2, 5),
    ("r.jsonl", '{"text":"x"}\n{"id":"1","text":"x"}\n', 1, 2),  # the number of a row without id counts too
    ("r.jsonl", '{"id":7,"text":"x"}\n{"id":"7","text":"x"}\n', 1, 2),
])
def test_doubled_id_names_both_lines_before_anything_is_judged(batch, name, rows, first, second):
    refused(batch(rows, name), f"line {first} ", f"line {second} ")


def test_ids_that_differ_only_in_spelling_are_different(batch):
    assert [i for i, _ in good(batch("id,text\n7,a\n07,b\n7.0,c\n", "r.csv"))] == ["7", "07", "7.0"]


def test_id_field_that_is_not_there(batch):
    refused(batch("id,text\n1,a\n", "r.csv", "--id-field", "key"), '"key"')
    done = batch('{"key":1,"text":"a"}\n{"text":"b"}\n', "r.jsonl", "--id-field", "key")
    assert done.returncode == 3
    assert done.rows[0]["id"] == "1"
    assert done.rows[1]["id"] is None and done.rows[1]["row"] == 2 and "key" in done.rows[1]["error"]["text"]


# --- rows that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row, id, word", [
    ('{"id":"x"}', "x", "no field"),
    ('{"id":"x","text":null}', "x", "not a string"),
    ('{"id":"x","text":5}', "x", "not a string"),
    ('{"id":"x","text":["a"]}', "x", "not a string"),
    ('{"id":"x","text":""}', "x", "nothing to judge"),
    ('{"id":"x","text":" \\n\\t"}', "x", "nothing to judge"),
    ('{"id":"x","text":"a","messages":[]}', "x", "both"),
    ('{"id":"x","messages":"a"}', "x", ""),
    ('{"id":"x","messages":[]}', "x", ""),
    ('{"id":null,"text":"a"}', None, "id"),
    ('{"id":{},"text":"a"}', None, "id"),
    ('{"id":"","text":"a"}', None, "id"),
    ('{"id":"a\\u0000b","text":"a"}', None, "id"),
    ('{"id":"%s","text":"a"}' % ("i" * 1025), None, "limit"),
    ('{"id":"x","text":"a"', None, "JSON"),
    ('{"id":"x","text":"a","text":"b"}', None, "twice"),
    ('["x"]', None, "object"),
    ('7', None, "JSON"),
    ('secret words', None, "JSON"),
])
def test_bad_row_is_an_error_line_and_the_run_goes_on(batch, row, id, word):
    done = batch('{"id":"first","text":"a"}\n' + row + '\n{"id":"last","text":"b"}\n')
    assert done.returncode == 3
    assert [r["id"] for r in done.rows] == ["first", id, "last"]
    bad = done.rows[1]
    assert bad["schema"] == 1 and bad["row"] == 2 and bad["line"] == 2
    assert word in bad["error"]["text"] and bad["error"]["code"]
    assert "secret" not in json.dumps(bad)  # content never stands in an error


@pytest.mark.parametrize("row, id, word", [
    (b"x", None, "1 fields, expected 2"),
    (b"x,a,b", None, "3 fields, expected 2"),
    (b"x,", "x", "nothing to judge"),
    (b'x,"a"b', None, "closing quote"),
    (b",a", None, "id is empty"),
    (b"x,caf\xe9", "x", "UTF-8"),
    (b"\xe9,a", None, "UTF-8"),
])
def test_bad_csv_row(batch, row, id, word):
    done = batch(b"id,text\nfirst,a\n" + row + b"\nlast,b\n", "r.csv")
    assert done.returncode == 3
    assert [r["id"] for r in done.rows] == ["first", id, "last"]
    assert done.rows[1]["row"] == 2 and done.rows[1]["line"] == 3
    assert word in done.rows[1]["error"]["text"]


def test_reasoner_error_is_an_error_of_its_row(batch):
    done = batch('{"text":"a"}\n{"text":"FAIL"}\n{"text":"b"}\n')
    assert done.returncode == 3
    assert done.rows[1]["error"] == {"code": "io", "text": "asked to fail"}


def test_error_that_every_row_would_meet_ends_the_run(batch):
    done = batch('{"text":"a"}\n{"text":"FATAL"}\n{"text":"b"}\n')
    assert done.returncode == 1
    assert len(done.rows) == 1
    assert b"9000" in done.stderr and b"8192" in done.stderr


# --- encodings and line ends ----------------------------------------------------------------------------------

TEXT = 'id,text\r\n1,"two\r\nlines, and ""quotes"""\r\n2,naïve 🙂\r\n'
READ = [("1", 'two\r\nlines, and "quotes"'), ("2", "naïve 🙂")]


@pytest.mark.parametrize("encode", [
    lambda t: t.encode(), lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: b"\xff\xfe" + t.encode("utf-16-le"),
    lambda t: b"\xfe\xff" + t.encode("utf-16-be"),
])
def test_encodings_of_csv(batch, encode):
    assert good(batch(encode(TEXT), "r.csv")) == READ


@pytest.mark.parametrize("encode", [
    lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: b"\xff\xfe" + t.encode("utf-16-le"),
    lambda t: b"\xfe\xff" + t.encode("utf-16-be"),
])
def test_encodings_of_jsonl(batch, encode):
    rows = '{"id":"é","text":"a"}\r\n{"id":"2","text":"🙂 \\ud83d\\ude42"}\r\n'
    assert good(batch(encode(rows))) == [("é", "a"), ("2", "🙂 🙂")]


def test_gzip_is_read_through(batch):
    assert good(batch(gzip.compress(TEXT.encode()), "r.csv.gz")) == READ
    assert good(batch(gzip.compress(TEXT.encode()), "r.csv")) == READ
    both = gzip.compress(TEXT[:9].encode()) + gzip.compress(TEXT[9:].encode()) + b"\0" * 20
    assert good(batch(both, "r.csv.gz")) == READ
    assert good(batch(gzip.compress(b'{"id":"2","text":"a"}'), "r.jsonl.gz")) == [("2", "a")]


def test_utf16_is_said(batch):
    assert b"UTF-16 little endian" in batch(b"\xff\xfe" + TEXT.encode("utf-16-le"), "r.csv").stderr


def test_unpaired_surrogate_is_said(batch):
    done = batch(b"\xff\xfe" + "id,text\n1,a".encode("utf-16-le") + b"\x00\xd8" + "b\n".encode("utf-16-le"), "r.csv")
    assert good(done) == [("1", "a\ufffdb")]
    assert b"1 unpaired" in done.stderr


@pytest.mark.parametrize("data, word", [
    (TEXT.encode("utf-16-le"), "UTF-16 without"),
    (TEXT.encode("utf-16-be"), "UTF-16 without"),
    (TEXT.encode("utf-32"), "UTF-32"),
    (b"\xff\xfe" + TEXT.encode("utf-16-le") + b"x", "even number"),
    (gzip.compress(gzip.compress(TEXT.encode())), "more than once"),
    (gzip.compress(TEXT.encode())[:-9], "ends too early"),
    (gzip.compress(TEXT.encode())[:-8] + bytes(8), "damaged gzip"),
    (gzip.compress(TEXT.encode()) + b"rubbish", "damaged gzip"),
    (b"PK\x03\x04 and more", "workbook"),
    (b"id,text\r1,a\r2,b\r", "CR alone"),
    (b"", "no "),
    (b"id,text\n", "no rows"),
    (b"\n\n\n", "no column"),
])
def test_what_is_no_table_is_refused_by_name(batch, data, word):
    refused(batch(data, "r.csv"), word)


@pytest.mark.parametrize("data, word", [(b"", "no rows"), (b"\n \n", "no rows"), (b'[{"text":"a"}]', "array"),
                                        (b'\n [\n{"text":"a"}\n]', "array")])
def test_what_is_no_jsonl_is_refused_by_name(batch, data, word):
    refused(batch(data), word)


def test_last_line_without_newline(batch):
    assert good(batch('{"id":1,"text":"a"}')) == [("1", "a")]
    assert good(batch("id,text\n1,a", "r.csv")) == [("1", "a")]
    assert good(batch('id,text\n1,"a"', "r.csv")) == [("1", "a")]


def test_nul_in_json_text(batch):
    done = batch('{"id":1,"text":"a\\u0000b"}')
    assert done.returncode in (0, 3)
    assert len(done.rows) == 1


# --- CSV ------------------------------------------------------------------------------------------------------


def test_csv_against_python(batch):
    """Python's writer makes the file, and its reader is the oracle."""
    values = ["plain", "a,b", 'say "hi"', "two\nlines", "two\r\nlines", " spaces ", '"', '""', ",", "\n", "x\n\n", "'",
              "ünïcode 漢字", "tab\there", ";semi", "a\rb"]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["text", "other", "id"])
    for i, value in enumerate(values):
        writer.writerow([value, "-", f"r{i}"])
    expected = [(row["id"], row["text"]) for row in csv.DictReader(io.StringIO(out.getvalue(), newline=""))]
    done = batch(out.getvalue(), "r.csv")
    got = [(i, t) for i, t in texts(done)]
    for (id, text), (got_id, got_text) in zip(expected, got, strict=True):
        assert id == got_id
        if text.strip():
            assert got_text == text
        else:
            assert got_text["text"].endswith("nothing to judge") or "nothing to judge" in got_text["text"]


def test_quote_inside_an_unquoted_field(batch):
    assert good(batch('id,text\n1,5" pipe\n', "r.csv")) == [("1", '5" pipe')]


def test_quote_that_never_closes(batch):
    refused(batch('id,text\n1,a\n2,"b\n3,c\n', "r.csv"), "line 3", "never closes")


@pytest.mark.parametrize("separator, word", [(";", "semicolon"), ("\t", "tab")])
def test_other_separators_are_taken_from_the_header_and_said(batch, separator, word):
    done = batch(f"id{separator}text\n1{separator}a, b\n", "r.csv")
    assert good(done) == [("1", "a, b")]
    assert word in done.stderr.decode()


def test_commas_in_rows_do_not_make_a_separator(batch):
    """A header of one column has no separator: the comma is taken, and a row with one is an error, not cut."""
    done = batch("text\nhello\nhello, world\n", "r.csv")
    assert done.returncode == 3
    assert [r.get("output") for r in done.rows] == ["hello", None]
    assert good(batch('text\n"hello, world"\n', "r.csv")) == [("1", "hello, world")]


def test_header_with_two_separators_is_refused_until_one_is_named(batch):
    rows = "id;x,text\n1;y,a\n"
    refused(batch(rows, "r.csv"), "comma", "semicolon", "--separator")
    assert good(batch(rows, "r.csv", "--separator", "comma")) == [("1", "a")]


def test_separator_inside_a_quoted_header_word(batch):
    assert good(batch('id;"text"\n1;a\n', "r.csv", "--separator", "semicolon")) == [("1", "a")]
    assert good(batch('"id","a;b","text"\n1,2,a\n', "r.csv")) == [("1", "a")]


def test_tsv_by_its_name(batch):
    assert good(batch("id\ttext\n1\ta, b\n", "r.tsv")) == [("1", "a, b")]


def test_sep_line_of_spreadsheets(batch):
    done = batch("sep=;\r\nid;text\r\n1;a,b\r\n", "r.csv")
    assert good(done) == [("1", "a,b")]
    assert b"line 1" in done.stderr


def test_notice_lines_above_the_header(batch):
    rows = "Export of 2025-10-29\nConfidential, do not share\nid,text\n1,a\n"
    refused(batch(rows, "r.csv"), "line 1", "line 3", "--skip-lines 2")
    assert good(batch(rows, "r.csv", "--skip-lines", "2")) == [("1", "a")]
    refused(batch(rows, "r.csv", "--skip-lines", "1"), "line 2", "line 3", "--skip-lines 2")
    refused(batch(rows, "r.csv", "--skip-lines", "9"), "lines")


def test_notice_lines_above_a_header_with_semicolons(batch):
    refused(batch("Notice\nid;text\n1;a\n", "r.csv"), "line 2", "--skip-lines 1")


def test_skip_lines_of_jsonl(batch):
    assert good(batch('# notice\n{"text":"a"}\n', "r.jsonl", "--skip-lines", "1")) == [("1", "a")]


def test_missing_text_column_names_those_that_are_there(batch):
    refused(batch("id,body\n1,a\n", "r.csv"), '"text"', "id, body", "--text-field")
    assert good(batch("id,body\n1,a\n", "r.csv", "--text-field", "body")) == [("1", "a")]


def test_column_twice(batch):
    refused(batch("text,text\na,b\n", "r.csv"), "more than once")
    refused(batch("id,text,id\n1,a,2\n", "r.csv"), "more than once")


def test_many_columns(batch):
    header = ",".join(f"c{i}" for i in range(4000)) + ",text"
    assert good(batch(header + "\n" + "," * 4000 + "a\n", "r.csv"))[0][1] == "a"
    refused(batch(",".join(f"c{i}" for i in range(5000)) + "\n1\n", "r.csv"), "too many")


# --- formats and fields ---------------------------------------------------------------------------------------


def test_format_by_name_or_option(batch):
    refused(batch('{"text":"a"}', "rows.txt"), "--format")
    assert good(batch('{"text":"a"}', "rows.txt", "--format", "jsonl")) == [("1", "a")]
    assert good(batch("text\na\n", "rows.JSONL", "--format", "csv")) == [("1", "a")]
    assert good(batch('{"text":"a"}', "ROWS.NDJSON")) == [("1", "a")]


def test_standard_input(run, double, policy, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    done = run(double, "check", "--policy", policy, "--model", model, "--batch", "-", stdin=b'{"text":"a"}')
    assert done.returncode == 2 and b"--format" in done.stderr
    done = run(double, "check", "--policy", policy, "--model", model, "--batch", "-", "--format", "jsonl",
               stdin=b'{"id":"i","text":"a"}')
    assert done.returncode == 0 and json.loads(done.stdout)["id"] == "i"


def test_conversations(batch):
    row = {"id": 12345678901234567890, "messages": [{"role": "user", "content": "one"},
                                                     {"role": "assistant", "content": "two"}], "score": 1.5}
    done = batch(json.dumps(row))
    assert good(done)[0][0] == "12345678901234567890"
    assert "one" in done.rows[0]["output"] and "two" in done.rows[0]["output"]


def test_text_field_picks_between_text_and_messages(batch):
    assert good(batch('{"text":"a","messages":[]}', "r.jsonl", "--text-field", "text")) == [("1", "a")]


def test_file_that_is_not_there(batch, run, double, policy):
    done = run(double, "check", "--policy", policy, "--batch", "/nowhere/r.jsonl")
    assert done.returncode == 1 and b"/nowhere/r.jsonl" in done.stderr


def test_many_rows(batch):
    """Order, ids and count hold for more rows than any buffer."""
    n = 20000
    done = batch("".join(f'{{"id":{i},"text":"t{i}"}}\n' for i in range(n)))
    assert [(r["id"], r["output"]) for r in done.rows] == [(str(i), f"t{i}") for i in range(n)]
