#include "data/fingerprint.h"

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

class FingerprintTest : public ::testing::Test {
 protected:
  static absl::StatusOr<std::string> Of(const std::string& dir) {
    ASSIGN_OR_RETURN(const auto weights,
                     SafetensorsFolder::Open(RealFileSystem(), dir));
    return ModelFingerprint(RealFileSystem(), dir, weights);
  }
  void Copy(const std::string& name) {
    ASSERT_OK(files_.WriteFileAtomically(
        dir_ / name, *files_.ReadFile(teacher_ + "/" + name)));
  }

  TemporaryDirectory dir_;
  FileSystem& files_ = RealFileSystem();
  std::string teacher_ =
      std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/tiny";
};

// The digest was computed from the definition by another program.
TEST_F(FingerprintTest, IsTheDigestThatTheHeaderDefines) {
  EXPECT_EQ(*Of(teacher_),
            "a7309c491e9df02dd97045f85105e51eeccb4835dc0e0f95c64b588a4c257cd3");
}

TEST_F(FingerprintTest, CopiesAreTheSameAndEveryChangeIsAnother) {
  Copy("config.json");
  Copy("model.safetensors");
  ASSERT_OK_AND_ASSIGN(const std::string original, Of(teacher_));
  EXPECT_EQ(*Of(dir_.path()), original);
  const std::string weights = *files_.ReadFile(dir_ / "model.safetensors");
  for (const std::size_t at : {weights.size() - 1, weights.size() / 2}) {
    std::string changed = weights;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    ASSERT_OK(files_.WriteFileAtomically(dir_ / "model.safetensors", changed));
    EXPECT_NE(*Of(dir_.path()), original);
  }
  ASSERT_OK(files_.WriteFileAtomically(dir_ / "model.safetensors", weights));
  ASSERT_OK(files_.AppendToFile(dir_ / "config.json", " "));
  EXPECT_NE(*Of(dir_.path()), original);
}

TEST_F(FingerprintTest, WithoutConfigThereIsNone) {
  Copy("model.safetensors");
  EXPECT_THAT(Of(dir_.path()), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace rtpurbo::testing
