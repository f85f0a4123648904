#!/usr/bin/env python3
"""Prints "N passed, N failed, N skipped" over JUnit files written by ctest.

A GoogleTest binary is one test to ctest: its cases are counted from its output
instead. A binary that fails without a failed case (a crash, a timeout) counts
as one failed; any other test counts as one. The exit status is 1 if a test
failed.
"""
import argparse
import re
import sys
import xml.etree.ElementTree

CASE = re.compile(r"^\[ *(OK|FAILED|SKIPPED) *\] \S+.* \(\d+ ms\)$", re.M)


def count(test: xml.etree.ElementTree.Element) -> dict:
    """The numbers of one <testcase>, by verdict."""
    output = test.findtext("system-out") or ""
    numbers = {"OK": 0, "FAILED": 0, "SKIPPED": 0}
    for verdict in CASE.findall(output):
        numbers[verdict] += 1
    status = test.get("status")
    if status == "fail" and not numbers["FAILED"]:
        numbers["FAILED"] = 1
    elif status != "fail" and not any(numbers.values()):
        numbers["OK" if status == "run" else "SKIPPED"] = 1
    return numbers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", metavar="JUNIT")
    parser.add_argument("--failed", type=int, default=0, metavar="N",
                        help="failures to add, of phases that are no tests")
    arguments = parser.parse_args()
    total = {"OK": 0, "FAILED": arguments.failed, "SKIPPED": 0}
    for name in arguments.files:
        for test in xml.etree.ElementTree.parse(name).iter("testcase"):
            for verdict, number in count(test).items():
                total[verdict] += number
    print(f"{total['OK']} passed, {total['FAILED']} failed, {total['SKIPPED']} skipped")
    return total["FAILED"] != 0


if __name__ == "__main__":
    sys.exit(main())
