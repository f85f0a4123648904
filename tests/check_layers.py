#!/usr/bin/env python3
"""Fails if a file includes a folder that its own folder may not see."""
import pathlib
import re
import sys

MAY_SEE = {  # folder -> the folders whose headers it may include
    "kernels/core": [],
    "kernels": ["kernels/core"],
    "dist": ["kernels/core"],
    "configs": ["kernels/core"],
    "data": ["kernels/core"],
    "autograd": ["kernels/core", "kernels", "dist"],
    "model": ["kernels/core", "kernels", "dist", "autograd", "configs"],
    "trainer": ["kernels/core", "kernels", "dist", "data", "autograd", "model", "configs"],
    "launch": ["kernels/core", "kernels", "dist", "data", "model", "trainer", "configs"],
    "tests": ["kernels/core", "kernels", "dist", "configs", "data", "autograd", "model", "trainer", "launch"],
}
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)


def folder_of(name: str) -> str:
    """The longest folder of the table that holds `name`; "" for none."""
    inside = [folder for folder in MAY_SEE if name.startswith(folder + "/")]
    return max(inside, key=len, default="")


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    bad = 0
    paths = [path for folder in MAY_SEE for path in root.glob(folder + "/**/*.[hc]*")]
    for path in sorted(set(paths)):
        name = path.relative_to(root).as_posix()
        folder = folder_of(name)
        for seen in map(folder_of, INCLUDE.findall(path.read_text()) if folder else []):
            if seen and seen != folder and seen not in MAY_SEE[folder]:
                print(f"{name}: {folder}/ may not include {seen}/")
                bad += 1
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
