#include "data/safetensors.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "data/float16.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string Stored(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

class SafetensorsTest : public ::testing::Test {
 protected:
  // A file with one tensor a name, one-dimensional, of these bytes.
  struct Tensor {
    std::string name;
    std::string dtype;
    std::string bytes;
  };
  void WriteFile(const std::string& file, const std::vector<Tensor>& tensors) {
    std::vector<SafetensorsEntry> entries;
    std::string data;
    for (const Tensor& tensor : tensors) {
      const auto begin = static_cast<std::int64_t>(data.size());
      data += tensor.bytes;
      const auto end = static_cast<std::int64_t>(data.size());
      const std::int64_t count =
          (end - begin) * 8 / SafetensorsBits(tensor.dtype);
      entries.push_back({tensor.name, tensor.dtype, {count}, begin, end});
    }
    ASSERT_OK(files_.WriteFileAtomically(
        dir_ / file, FormatSafetensorsHeader(entries, {}) + data));
  }
  void WriteIndex(const std::string& weight_map) {
    ASSERT_OK(files_.WriteFileAtomically(
        dir_ / "model.safetensors.index.json",
        R"({"metadata":{"total_size":1},"weight_map":)" + weight_map + "}"));
  }

  TemporaryDirectory dir_;
  FileSystem& files_ = RealFileSystem();
};

TEST_F(SafetensorsTest, ReadsAnyIntervalOfEveryFloatType) {
  const float nan = std::nanf("");
  const std::vector<float> values = {1.0F,     -2.5F, 3.0e-39F, 1.00390625F,
                                     INFINITY, -0.0F, nan,      5.9604645e-08F};
  std::vector<BFloat16> brain;
  std::vector<std::uint16_t> half;
  for (const float value : values) {
    brain.emplace_back(value);
    half.push_back(FloatToHalf(value));
  }
  // One byte in front: no tensor is aligned.
  WriteFile("model.safetensors", {{"a", "U8", "!"},
                                  {"f32", "F32", Stored(values)},
                                  {"bf16", "BF16", Stored(brain)},
                                  {"f16", "F16", Stored(half)}});
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, dir_.path()));
  EXPECT_THAT(folder.names(), ElementsAre("a", "bf16", "f16", "f32"));
  for (std::size_t begin = 0; begin <= values.size(); ++begin) {
    const std::size_t count = values.size() - begin;
    const auto first = static_cast<std::int64_t>(begin);
    std::vector<float> as_f32(count, 7);
    std::vector<BFloat16> as_bf16(count);
    for (const char* name : {"f32", "bf16", "f16"}) {
      ASSERT_OK(folder.ReadF32(name, first, as_f32));
      ASSERT_OK(folder.ReadBF16(name, first, as_bf16));
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = begin + i;
        const float expected = name[0] == 'b' ? static_cast<float>(brain[at])
                               : name == std::string("f16")
                                   ? HalfToFloat(half[at])
                                   : values[at];
        EXPECT_EQ(Stored<float>({as_f32[i]}), Stored<float>({expected}));
        EXPECT_EQ(as_bf16[i].bits, BFloat16(expected).bits);
      }
    }
  }
}

TEST_F(SafetensorsTest, OtherTypesAreListedButNotRead) {
  WriteFile("model.safetensors", {{"ids", "I64", std::string(16, '\1')}});
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, dir_.path()));
  EXPECT_EQ((*folder.Find("ids"))->dtype, "I64");
  EXPECT_EQ((*folder.Find("ids"))->shape, (Shape{2}));
  EXPECT_EQ(folder.Raw("ids")->size(), 16U);
  std::vector<float> out(2);
  EXPECT_THAT(
      folder.ReadF32("ids", 0, out),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("'ids'"), HasSubstr("I64, which is not"))));
}

TEST_F(SafetensorsTest, WhatIsNotThereIsNamed) {
  WriteFile("model.safetensors", {{"x", "F32", std::string(8, '\0')}});
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, dir_.path()));
  std::vector<float> out(2);
  EXPECT_THAT(folder.ReadF32("y", 0, out),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'y'")));
  EXPECT_THAT(folder.ReadF32("x", 1, out),
              StatusIs(absl::StatusCode::kOutOfRange,
                       HasSubstr("has 2 elements; [1, 3)")));
  EXPECT_THAT(folder.ReadF32("x", -1, out),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_FALSE(folder.Has("y"));
}

TEST_F(SafetensorsTest, FolderWithoutWeightsIsNotFound) {
  EXPECT_THAT(SafetensorsFolder::Open(files_, dir_.path()),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr(dir_.path() + " has no weights")));
}

TEST_F(SafetensorsTest, ReadsEachTensorFromTheShardOfTheIndex) {
  WriteFile("s1.safetensors", {{"x", "F32", Stored<float>({1})},
                               {"y", "F32", Stored<float>({2})}});
  WriteFile("s2.safetensors", {{"y", "F32", Stored<float>({3})},
                               {"z", "F32", Stored<float>({4})}});
  WriteIndex(R"({"z":"s2.safetensors","y":"s2.safetensors",
                 "x":"s1.safetensors"})");
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, dir_.path()));
  EXPECT_THAT(folder.names(), ElementsAre("x", "y", "z"));
  float value = 0;
  for (const auto& [name, expected] :
       std::map<std::string, float>{{"x", 1}, {"y", 3}, {"z", 4}}) {
    ASSERT_OK(folder.ReadF32(name, 0, {&value, 1}));
    EXPECT_EQ(value, expected);
  }
}

TEST_F(SafetensorsTest, BadIndexesAreRefused) {
  WriteFile("s1.safetensors", {{"x", "F32", Stored<float>({1})}});
  const auto open = [&] {
    return SafetensorsFolder::Open(files_, dir_.path()).status();
  };
  WriteIndex(R"({"x":"s1.safetensors","y":"s2.safetensors"})");
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kNotFound,
                               AllOf(HasSubstr("index.json"), HasSubstr("'y'"),
                                     HasSubstr(dir_ / "s2.safetensors"))));
  WriteIndex(R"({"x":"s1.safetensors","y":"s1.safetensors"})");
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kDataLoss,
                               HasSubstr("'y' is in s1.safetensors, but")));
  WriteIndex(R"({"x":"s1.safetensors","x":"s1.safetensors"})");
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kDataLoss,
                               HasSubstr("'x' comes twice")));
  WriteIndex(R"({"x":"../s1.safetensors"})");
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kDataLoss,
                               HasSubstr("no name of a file")));
  WriteIndex(R"({"x":1})");
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kDataLoss,
                               HasSubstr("the shard of 'x' is no text")));
  WriteIndex("[]");
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'weight_map'")));
  WriteIndex("{");
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not JSON")));
}

TEST_F(SafetensorsTest, ReadsThePublishedTeacher) {
  const std::string teacher =
      std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/tiny";
  ASSERT_OK_AND_ASSIGN(const auto folder,
                       SafetensorsFolder::Open(files_, teacher));
  ASSERT_OK_AND_ASSIGN(const SafetensorsEntry* const entry,
                       folder.Find("model.embed_tokens.weight"));
  EXPECT_EQ(entry->shape, (Shape{8192, 192}));
  EXPECT_EQ(entry->dtype, "BF16");
  std::vector<float> row(192);
  constexpr auto kBegin = std::size_t{192} * 100;
  ASSERT_OK(folder.ReadF32("model.embed_tokens.weight", kBegin, row));
  const Bytes raw = *folder.Raw("model.embed_tokens.weight");
  for (std::size_t i = 0; i < row.size(); ++i) {
    BFloat16 stored;
    std::memcpy(&stored.bits, raw.data() + 2 * (kBegin + i), 2);
    EXPECT_EQ(row[i], static_cast<float>(stored));
  }
  EXPECT_NE(row[0], 0);
}

}  // namespace
}  // namespace rtpurbo::testing
