// A folder for one test's files, removed with all that is in it.

#ifndef RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_
#define RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "gtest/gtest.h"
#include "kernels/core/check.h"

namespace rtpurbo::testing {

class TemporaryDirectory {
 public:
  // kInMemory: where there is a file system in memory. For tests that sync
  // often, which a busy disk makes slow; keep what they write small.
  enum class Where : std::uint8_t { kOnDisk, kInMemory };
  explicit TemporaryDirectory(Where where = Where::kOnDisk)
      : path_(Parent(where) + "rtpurbo_XXXXXX") {
    CHECK(mkdtemp(path_.data()) != nullptr) << path_;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  static std::string Parent(Where where) {
    const bool in_memory =
        where == Where::kInMemory && access("/dev/shm", W_OK) == 0;
    return in_memory ? "/dev/shm/" : ::testing::TempDir();
  }

  std::string path_;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_
