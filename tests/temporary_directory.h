// A folder for one test's files, removed with all that is in it.

#ifndef RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_
#define RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "gtest/gtest.h"
#include "kernels/core/check.h"

namespace rtpurbo::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_(::testing::TempDir() + "rtpurbo_XXXXXX") {
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
  std::string path_;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TEMPORARY_DIRECTORY_H_
