#!/usr/bin/env python3
"""Compares token ids and decoded text with Hugging Face's `tokenizers`.

    tokenizers_compare.py build/cpu/rtpurbo tokenizer.json [--strings 4000]

Needs the Python package `tokenizers`. The program is run as
`PROGRAM tokenize --tokenizer FILE --jsonl [--decode]`. Compared are

- awkward strings of every kind below (seeded: the same each time);
- every character of Unicode, alone and between a letter, a digit and marks;
- the same tokenizer with other patterns, behaviours and flags.

Exits with 1 if anything differs, and shows the first differences.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
MARKS = list(range(0x300, 0x370)) + [
    0x591, 0x5B0, 0x64B, 0x651, 0x7FD, 0x898, 0x93C, 0x94D, 0x9BE, 0xB56,
    0xC56, 0x1037, 0x1ABF, 0x1DF6, 0x20D0, 0x302A, 0x3099, 0x309A, 0xFE20,
    0x1133B, 0x113CE, 0x1D165, 0x1D16D, 0x1E4EC]
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u180e\u2000\u2003\u2009\u200b\u2028" \
         "\u2029\u202f\u205f\u2060\u3000\ufeff"
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'VE", "'m", "'Ll", "'d", "'\u017f",
                "\u2019s", "''s", "'s's", "'", "'\u00df", "'x"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>",
            "</tool_call>", "<think>", "<|im_start", "im_end|>", "<|", "<<|",
            "<|fim_prefix|>", "<tool_response>", "</think><think>"]
WORDS = ["the", "The", "HTTPServer2", "snake_case", "x", "1234567890", "3.14",
         "a\u0301", "e\u0301\u0323", "\u212b", "\ufb01", "\u1e9b\u0323",
         "\uac00", "\u1100\u1161\u11a8", "\u4f60\u597d", "\u3053\u3093",
         "\u0e01\u0e33", "\u0627\u0644", "\u0939\u093f\u0928\u094d", "\U0001f468"
         "\u200d\U0001f469", "\U0001f1e9\U0001f1ea", "\u00bd\u00b2", "\u216b",
         "\u0660\u0661", "!!!", "...", "--", "#include", "\0", "\x01", "\x7f",
         "\ufffd", "\ufffe", "\U0010ffff", "\u0340\u0341", "\u0f73", "\u2126"]


def awkward(rng):
    kind = rng.randrange(9)
    size = rng.choice([1, 2, 3, 5, 8, 20, 60])
    if kind == 0:
        return "".join(rng.choice(SPACES) for _ in range(size))
    if kind == 1:
        return "".join(chr(rng.choice(CODES)) for _ in range(size))
    if kind == 2:
        return "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(size))
    if kind == 3:
        return "".join(chr(rng.randrange(0x300)) for _ in range(size))
    if kind == 4:
        return rng.choice("aeo\u00c5\u3042\u0915\u1100") + "".join(
            chr(rng.choice(MARKS)) for _ in range(size))
    if kind == 5:
        return rng.choice(["a", " ", "\n", "0", "!", "\u4e00", "ab", "\r\n",
                           "\u0301", "\U0001f600"]) * rng.randrange(1, 400)
    if kind == 6:
        low = rng.choice([0x300, 0x600, 0x900, 0x1100, 0x2000, 0x3000, 0xA700,
                          0xAC00, 0xF900, 0x10000, 0x10D00, 0x11300, 0x13400,
                          0x1D100, 0x1E000, 0x1F600, 0x2EBF0, 0x31350])
        return "".join(chr(low + rng.randrange(0x100)) for _ in range(size))
    parts = [WORDS, CONTRACTIONS, list(SPACES)] + [SPECIALS] * (kind == 7)
    return "".join(rng.choice(rng.choice(parts)) for _ in range(size))


def sweep():
    """Strings that hold every character in several surroundings."""
    for begin in range(0, len(CODES), 64):
        block = [chr(c) for c in CODES[begin:begin + 64]]
        yield "".join(block)
        yield "".join(f" {c}a{c}1{c}!{c}\n" for c in block)
        yield "".join(f"o{c}\u0334\u0301.a\u0345{c} " for c in block)


class Comparison:
    def __init__(self, program):
        self.program = program
        self.compared = 0
        self.different = 0

    def run(self, path, lines, *flags):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run(
            [self.program, "tokenize", "--tokenizer", str(path), "--jsonl",
             *flags], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.program} returned {done.returncode}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    def check(self, what, got, want, about):
        self.compared += 1
        if got != want:
            self.different += 1
            if self.different <= 10:
                print(f"{what} of {about!a}:\n  here   {got!a}\n  theirs {want!a}")

    def compare(self, name, path, texts):
        before = self.compared, self.different
        theirs = tokenizers.Tokenizer.from_file(str(path))
        encoded = self.run(path, [{"text": text} for text in texts])
        assert len(encoded) == len(texts)
        ids = [theirs.encode(text).ids for text in texts]
        for text, got, want in zip(texts, encoded, ids):
            self.check("ids", got["ids"], want, text)
        # Cut short, ids end inside of characters.
        ids += [list(reversed(one))[:7] for one in ids]
        decoded = self.run(path, [{"ids": one} for one in ids], "--decode")
        for one, got in zip(ids, decoded):
            want = theirs.decode(one, skip_special_tokens=False)
            self.check("text", got["text"], want, one)
        print(f"{name}: {self.compared - before[0]} compared, "
              f"{self.different - before[1]} different", flush=True)


def added(content, special=False, **flags):
    token = {"id": 0, "content": content, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": special}
    return token | flags


def variants(tokenizer):
    """Other tokenizers with the same vocabulary: (name, tokenizer)."""
    def changed(change):
        copy = json.loads(json.dumps(tokenizer))
        change(copy)
        return copy

    def pattern(regex, behavior="Isolated", invert=False, kind="Regex"):
        def change(t):
            t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {kind: regex},
                 "behavior": behavior, "invert": invert},
                {"type": "ByteLevel", "add_prefix_space": False,
                 "trim_offsets": True, "use_regex": False}]}
        return changed(change)

    yield "no normalizer", changed(lambda t: t.update(normalizer=None))
    yield "ByteLevel alone", changed(lambda t: t.update(pre_tokenizer={
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
        "use_regex": True}))
    first = tokenizer["model"]["merges"][0]
    yield "merges of the other spelling", changed(
        lambda t: t["model"].update(merges=[
            pair.split(" ") if isinstance(first, str) else " ".join(pair)
            for pair in t["model"]["merges"]]))
    # A pair that stands twice: the last place counts.
    yield "merges twice", changed(lambda t: t["model"]["merges"].extend(
        t["model"]["merges"][:50]))
    for behavior in ["Removed", "Isolated", "MergedWithPrevious",
                     "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            for regex in [r"\s+|[aeo]", r"\p{L}*", r"(?=\p{Lu})"]:
                yield (f"{behavior} {invert} {regex}",
                       pattern(regex, behavior, invert))
    yield "string", pattern("a.e", kind="String", behavior="MergedWithNext")
    for category in ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "P",
                     "S", "Z"]:
        yield f"\\p{{{category}}}", pattern(rf"\p{{{category}}}+", "Removed")
        yield f"\\P{{{category}}}", pattern(rf"\P{{{category}}}", "Contiguous")
    for regex in [r"\s", r"\S", r"[\S\n]", r"[^\S\n]+", r"\d", r"\D+", r"[^\d]",
                  r"\p{^L}+", r".", r".+?e", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
                  r"(?i:k|ax|xyz)", r"\v|\f|\t",
                  r"\x41|\x{301}|\u4e00", r"[a-e-]+|[^-a-e]", r"[\t-\r\x{2000}"
                  r"-\x{200A}]", r"(?>a+)b|(?:ab)++", r"a{2,3}|b{2}|c{2,}",
                  r"(a|b)*?c", r"(?!\s)..(?=\s)", r"\p{N}{1,3}",
                  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
                  r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|\p{N}{1,3}|"
                  r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"]:
        yield regex, pattern(regex, "Isolated")
        yield regex + " contiguous", pattern(regex, "Contiguous")
    tokens = [added("<a>"), added("<a>b", special=True), added("a>b<"),
              added(" <l>", lstrip=True), added("<r>", rstrip=True),
              added("<lr>", lstrip=True, rstrip=True),
              added("e\u0301", normalized=True), added("\u212b"),
              added("two words", normalized=True, special=True), added("\u00e8"),
              added("\n<n>", rstrip=True, normalized=True)]

    def add(t):
        next_id = 1 + max(max(t["model"]["vocab"].values()),
                          max(a["id"] for a in t["added_tokens"]))
        for i, token in enumerate(tokens):
            t["added_tokens"].append(token | {"id": next_id + i})
    yield "added tokens", changed(add)


def with_added(rng):
    return "".join(rng.choice(["<a>", "<a>b", "<a>b<a>b", " <l>", "<r>", "<lr>",
                               "e\u0301", "\u00e9", "\u212b", "\u00c5", "\u00e8",
                               "two words", "e\u0300", "\n<n>", " ", "\u2003",
                               "\n", "x", "a", "\t", "<"])
                   for _ in range(rng.choice([1, 2, 4, 9, 20])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("--strings", type=int, default=4000)
    args = parser.parse_args()
    rng = random.Random(20260516)
    texts = [awkward(rng) for _ in range(args.strings)]
    comparison = Comparison(args.program)
    comparison.compare("strings", args.tokenizer, texts)
    comparison.compare("every character", args.tokenizer, list(sweep()))
    some = texts[:300] + [with_added(rng) for _ in range(300)]
    classes = ["".join(map(chr, CODES[i:i + 512]))
               for i in range(0, len(CODES), 512)]
    original = json.loads(args.tokenizer.read_text(encoding="utf-8"))
    if len(original["model"]["vocab"]) > 20000:
        print("vocabulary above 20,000: its variants are left out")
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name, variant in variants(original):
                path = pathlib.Path(folder) / "tokenizer.json"
                path.write_text(json.dumps(variant), encoding="utf-8")
                one_class = len(name) <= 6 and name[0] == "\\"
                comparison.compare(name, path,
                                   some + (classes if one_class else []))
    print(f"{comparison.compared} compared, {comparison.different} different")
    return comparison.different != 0


if __name__ == "__main__":
    sys.exit(main())
