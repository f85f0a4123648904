#!/usr/bin/env python3
"""Tests count_tests.py on files as ctest 3.25 writes them."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parent / "count_tests.py"
GOOGLETEST = """[==========] Running 3 tests from 1 test suite.
[ RUN      ] NameTest.Works
[       OK ] NameTest.Works (0 ms)
[ RUN      ] NameTest.NeedsAGpu
name_test.cc:9: Skipped
no GPU
[  SKIPPED ] NameTest.NeedsAGpu (0 ms)
[ RUN      ] Sizes/NameTest.Holds/1
[       OK ] Sizes/NameTest.Holds/1 (2 ms)
[==========] 3 tests from 1 test suite ran. (2 ms total)
[  PASSED  ] 2 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] NameTest.NeedsAGpu
"""
FAILING = """[ RUN      ] NameTest.Works
[       OK ] NameTest.Works (0 ms)
[ RUN      ] Sizes/NameTest.Holds/0
name_test.cc:12: Failure
[  FAILED  ] Sizes/NameTest.Holds/0, where GetParam() = 3 (1 ms)
[  PASSED  ] 1 test.
[  FAILED  ] 1 test, listed below:
[  FAILED  ] Sizes/NameTest.Holds/0, where GetParam() = 3
"""
CRASHING = """[ RUN      ] NameTest.Works
[       OK ] NameTest.Works (0 ms)
[ RUN      ] NameTest.Crashes
Segmentation fault
"""


def count(tests, *arguments):
    """(last line, exit status) for a list of (status of ctest, output)."""
    cases = "".join(f'<testcase name="t" status="{status}"><system-out>{output}'
                    "</system-out></testcase>" for status, output in tests)
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(f"<testsuite>{cases}</testsuite>")
        file.flush()
        done = subprocess.run([sys.executable, PROGRAM, *arguments, file.name],
                              stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip(), done.returncode


class CountTestsTest(unittest.TestCase):
    def test_counts_the_cases_of_a_googletest_binary(self):
        self.assertEqual(count([("run", GOOGLETEST)]),
                         ("2 passed, 0 failed, 1 skipped", 0))

    def test_counts_another_test_as_one(self):
        self.assertEqual(count([("run", ""), ("fail", "no"), ("disabled", "")]),
                         ("1 passed, 1 failed, 1 skipped", 1))

    def test_counts_a_failed_case_once(self):
        self.assertEqual(count([("fail", FAILING)]),
                         ("1 passed, 1 failed, 0 skipped", 1))

    def test_counts_a_crash_as_one_failed(self):
        self.assertEqual(count([("fail", CRASHING)]),
                         ("1 passed, 1 failed, 0 skipped", 1))

    def test_adds_failures_from_outside(self):
        self.assertEqual(count([("run", "")], "--failed", "2"),
                         ("1 passed, 2 failed, 0 skipped", 1))

    def test_nothing_run_is_no_failure(self):
        self.assertEqual(count([]), ("0 passed, 0 failed, 0 skipped", 0))


if __name__ == "__main__":
    unittest.main()
