#!/usr/bin/env python3
"""The container's packages are those that launch/install.sh installs."""
import pathlib
import re
import unittest

LAUNCH = pathlib.Path(__file__).resolve().parent.parent.parent / "launch"
ONLY_INSIDE = {"ca-certificates"}  # a bare image has none


class ApptainerTest(unittest.TestCase):
    def test_packages_are_those_of_install(self):
        rows = re.search(r"^needed=\((.*?)^\)", (LAUNCH / "install.sh").read_text(), re.M | re.S)
        needed = re.findall(r"^ *'(\S+)", rows[1], re.M)
        recipe = (LAUNCH / "apptainer.def").read_text()
        install = re.search(r"apt-get install (.*?[^\\])\n", recipe, re.S)
        inside = [word for word in install[1].replace("\\", " ").split() if not word.startswith("-")]
        self.assertGreater(len(needed), 10)
        self.assertEqual(sorted(needed), sorted(set(inside) - ONLY_INSIDE))
        self.assertEqual(len(inside), len(set(inside)))


if __name__ == "__main__":
    unittest.main()
