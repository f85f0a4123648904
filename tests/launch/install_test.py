#!/usr/bin/env python3
"""Tests launch/install.sh on a made-up machine; nothing is ever installed."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NOBODY = 65534
MODULES = ["absl_status", "protobuf", "gtest", "gmock", "hdf5", "openblas",
           "libpcre2-8", "libutf8proc", "nlohmann_json", "libcrypto",
           "libarchive", "zlib", "ompi-c"]
COMMANDS = ["g++", "cmake", "ninja", "pkg-config", "python3", "git", "protoc",
            "mpirun"]
TOOLS = ["bash", "cat", "sed", "tr"]  # what the script itself calls


class InstallTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        shutil.copy(ROOT / "launch" / "install.sh", self.folder)
        self.modules = self.folder / "modules"
        self.modules.mkdir()

    def write_command(self, name, text="exit 0", folder=None):
        path = (folder or self.bin) / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)

    def write_pkg_config(self):
        """Finds NAME where the file NAME.pc is, as the real one does."""
        self.write_command("pkg-config", (
            f'[[ -e {self.modules}/$2.pc ]] && exit 0\n'
            'IFS=:; for folder in $PKG_CONFIG_PATH; do\n'
            '  [[ -e $folder/$2.pc ]] && exit 0\n'
            'done; exit 1'))

    def install(self, *arguments, **environment):
        as_nobody = {"user": NOBODY} if os.geteuid() == 0 else {}
        done = subprocess.run(
            ["bash", self.folder / "install.sh", *arguments],
            env={"PATH": str(self.bin), **environment}, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **as_nobody)
        return done.returncode, done.stdout

    def have_all(self):
        for command in COMMANDS:
            self.write_command(command)
        self.write_pkg_config()
        for module in MODULES:
            (self.modules / f"{module}.pc").touch()

    def test_does_nothing_when_all_is_there(self):
        self.have_all()
        status, output = self.install()
        self.assertEqual(status, 0)
        self.assertRegex(output, r"^launch/install.sh: all \d+ packages are "
                                 r"there\n$")

    def test_without_root_lists_what_is_missing_and_how_to_build_it(self):
        self.have_all()
        (self.modules / "libutf8proc.pc").unlink()
        status, output = self.install()
        self.assertEqual(status, 2)
        self.assertIn("apt-get install libutf8proc-dev\n", output)
        self.assertIn("export CMAKE_PREFIX_PATH=", output)

    def test_an_empty_machine_lacks_everything(self):
        status, output = self.install("--checkers")
        self.assertEqual(status, 2)
        for package in ["g++", "libabsl-dev", "zlib1g-dev", "clang-tidy-14"]:
            self.assertIn(f"  {package} ", output)

    def test_finds_a_package_that_dpkg_knows(self):
        self.write_command("dpkg-query", "echo -n installed")
        self.assertEqual(self.install("--checkers")[0], 0)

    def test_finds_libraries_and_commands_under_a_prefix(self):
        self.have_all()
        (self.modules / "absl_status.pc").unlink()
        (self.bin / "protoc").unlink()
        self.assertEqual(self.install()[0], 2)
        prefix = self.folder / "prefix"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "lib" / "pkgconfig").mkdir(parents=True)
        (prefix / "lib" / "pkgconfig" / "absl_status.pc").touch()
        self.write_command("protoc", folder=prefix / "bin")
        self.assertEqual(self.install(CMAKE_PREFIX_PATH=str(prefix))[0], 0)

    def test_a_dry_run_lists_and_succeeds(self):
        status, output = self.install("--dry-run")
        self.assertEqual(status, 0)
        self.assertIn("  cmake ", output)

    def test_refuses_an_unknown_argument(self):
        status, output = self.install("--chekers")
        self.assertEqual(status, 2)
        self.assertIn("unknown argument '--chekers'", output)


if __name__ == "__main__":
    unittest.main()
