#!/usr/bin/env python3
"""Prints lines per folder; fails if a file is longer than its budget.

Long files are read by nobody: what passes the budget is split in the change
that pushed it over.
"""
import pathlib
import sys

FOLDERS = ["kernels", "dist", "configs", "autograd", "model", "data",
           "trainer", "launch"]
BUDGETS = [  # (where, ending, lines): the first that fits counts
    ("tests/", "", 400),
    ("", "_sm90.cu", 700),
    ("", ".h", 250),
    ("", ".cuh", 250),
    ("", ".cc", 450),
    ("", ".cu", 400),
]
ENDINGS = {".h", ".cc", ".cu", ".cuh"}


def budget_of(name: str) -> int:
    return next(lines for where, ending, lines in BUDGETS
                if name.startswith(where) and name.endswith(ending))


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    sizes = {}  # path from the root -> lines
    for folder in FOLDERS + ["tests"]:
        for path in (root / folder).rglob("*"):
            if path.suffix in ENDINGS:
                name = path.relative_to(root).as_posix()
                sizes[name] = path.read_bytes().count(b"\n")

    def total(prefix: str) -> int:
        return sum(size for name, size in sizes.items() if name.startswith(prefix))

    print(f"{'folder':<10}{'files':>7}{'lines':>8}{'tests':>8}{'tests/line':>12}")
    for folder in FOLDERS:
        lines, tests = total(folder + "/"), total(f"tests/{folder}/")
        files = sum(name.startswith(folder + "/") for name in sizes)
        if lines:
            print(f"{folder:<10}{files:>7}{lines:>8}{tests:>8}{tests / lines:>12.2f}")
    long = [(size, name) for name, size in sizes.items() if size > budget_of(name)]
    for size, name in sorted(long, reverse=True):
        print(f"{name}: {size} lines, the budget is {budget_of(name)}: split it")
    return len(long) != 0


if __name__ == "__main__":
    sys.exit(main())
