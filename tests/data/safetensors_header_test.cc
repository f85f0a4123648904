#include "data/safetensors_header.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/rng.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kPath[] = "dir/model.safetensors";

// A file with this JSON and `data_bytes` of data.
std::string File(const std::string& json, std::size_t data_bytes) {
  std::string file;
  for (std::size_t i = 0; i < 8; ++i) {
    file += static_cast<char>(json.size() >> (8 * i) & 0xffU);
  }
  return file + json + std::string(data_bytes, '\0');
}

absl::Status Parse(const std::string& file) {
  return ParseSafetensorsHeader(AsBytes(file), kPath).status();
}

// A file of one tensor "x" with 8 bytes of data and these fields.
std::string OneTensor(const std::string& fields) {
  return File("{\"x\":{" + fields + "}}", 8);
}
std::string WithShape(const std::string& shape) {
  return OneTensor(R"("dtype":"F32","data_offsets":[0,8],"shape":)" + shape);
}
std::string WithOffsets(const std::string& offsets) {
  return OneTensor(R"("dtype":"F32","shape":[2],"data_offsets":)" + offsets);
}
std::string TwoTensors(const std::string& a, const std::string& b,
                       std::size_t data_bytes) {
  const auto one = [](const char* name, const std::string& offsets) {
    return std::string("\"") + name +
           R"(":{"dtype":"F32","shape":[2],"data_offsets":)" + offsets + "}";
  };
  return File("{" + one("x", a) + "," + one("y", b) + "}", data_bytes);
}
std::string WithLength(std::uint64_t length) {
  std::string file = File("{}", 0);
  for (std::size_t i = 0; i < 8; ++i) {
    file[i] = static_cast<char>(length >> (8 * i) & 0xffU);
  }
  return file;
}

TEST(SafetensorsHeaderTest, ReadsTensorsInTheOrderOfTheData) {
  const std::string file =
      File(R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
           R"("__metadata__":{"format":"pt"},)"
           R"("none":{"dtype":"F32","shape":[0,4611686018427387904,8],)"
           R"("data_offsets":[4,4]},)"
           R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  )",
           16);
  ASSERT_OK_AND_ASSIGN(const SafetensorsHeader header,
                       ParseSafetensorsHeader(AsBytes(file), kPath));
  ASSERT_EQ(header.entries.size(), 3U);
  EXPECT_EQ(header.entries[0].name, "a");
  EXPECT_EQ(header.entries[0].num_elements(), 1);
  EXPECT_EQ(header.entries[1].name, "none");
  EXPECT_EQ(header.entries[1].num_elements(), 0);
  EXPECT_EQ(header.entries[2].name, "b");
  EXPECT_EQ(header.entries[2].dtype, "BF16");
  EXPECT_EQ(header.entries[2].shape, (Shape{2, 3}));
  EXPECT_EQ(header.entries[2].begin, 4);
  EXPECT_EQ(header.data.size(), 16U);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("format", "pt")));
}

TEST(SafetensorsHeaderTest, FormatsWhatItReads) {
  const std::vector<SafetensorsEntry> entries = {{"a\"\n", "F32", {2}, 0, 8},
                                                 {"b", "BF16", {1, 1}, 8, 10}};
  const std::string file =
      FormatSafetensorsHeader(entries, {{"format", "pt"}}) +
      std::string(10, 'x');
  EXPECT_EQ(file.size() % 8, 2U);  // the data starts at a multiple of 8
  ASSERT_OK_AND_ASSIGN(const SafetensorsHeader header,
                       ParseSafetensorsHeader(AsBytes(file), kPath));
  ASSERT_EQ(header.entries.size(), 2U);
  EXPECT_EQ(header.entries[0].name, "a\"\n");
  EXPECT_EQ(header.entries[1].shape, (Shape{1, 1}));
  EXPECT_THAT(header.metadata, ElementsAre(Pair("format", "pt")));
  EXPECT_OK(Parse(FormatSafetensorsHeader({}, {})));
}

// With the address sanitizer, this is a small fuzzer.
TEST(SafetensorsHeaderTest, RandomChangesAreRefusedOrStillAHeader) {
  const std::string file = TwoTensors("[0,8]", "[8,16]", 16);
  Rng rng(1, 2);
  std::int64_t refused = 0;
  for (int trial = 0; trial < 600; ++trial) {
    std::string changed = file;
    for (std::int64_t i = rng.Below(3); i >= 0; --i) {
      changed[static_cast<std::size_t>(
          rng.Below(static_cast<std::int64_t>(changed.size())))] =
          static_cast<char>(rng.Below(256));
    }
    refused += static_cast<std::int64_t>(!Parse(changed).ok());
  }
  EXPECT_GT(refused, 400);
  EXPECT_LT(refused, 600);
}

struct BadFile {
  const char* name;  // of the test
  std::string file;
  const char* complaint;
};

const BadFile kBadFiles[] = {
    {"Empty", "", "0 bytes are too few"},
    {"SevenBytes", "1234567", "7 bytes are too few"},
    {"LengthOneTooLarge", WithLength(3), "would have 3 bytes, but 2 follow"},
    {"LengthHuge", WithLength(~0ULL), "would have 18446744073709551615 bytes"},
    {"LengthTooSmall", WithLength(1), "not JSON"},
    {"LengthZero", WithLength(0), "does not start with {"},
    {"HeaderOver100MB", WithLength(100'000'001), "100000000 are the most"},
    {"NotJson", File("{\"x\":", 0), "not JSON"},
    {"NotUtf8", File("{\"\xff\":1}", 0), "not JSON"},
    {"TextAfterIt", File("{} x", 0), "not JSON"},
    {"AList", File("[]", 0), "does not start with {"},
    {"NameTwice",
     File(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
          R"("x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          8),
     "the name 'x' comes twice"},
    {"FieldTwice",
     OneTensor(R"("dtype":"F32","dtype":"I32","shape":[2],)"
               R"("data_offsets":[0,8])"),
     "the name 'dtype' comes twice"},
    {"MetadataNoObject", File(R"({"__metadata__":[]})", 0),
     "__metadata__ is no object"},
    {"MetadataNoText", File(R"({"__metadata__":{"a":1}})", 0),
     "something other than a text at 'a'"},
    {"TensorNoObject", File(R"({"x":3})", 0), "'x' is no object"},
    {"NoDType", OneTensor(R"("shape":[2],"data_offsets":[0,8])"),
     "'x' has no text 'dtype'"},
    {"UnknownDType",
     OneTensor(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])"),
     "'x' has the unknown dtype F33"},
    {"NoShape", OneTensor(R"("dtype":"F32","data_offsets":[0,8])"),
     "'x' has no list 'shape'"},
    {"NoOffsets", OneTensor(R"("dtype":"F32","shape":[2])"),
     "'x' has no list 'data_offsets'"},
    {"NegativeSize", WithShape("[-2]"), "has -2 in its shape"},
    {"FractionalSize", WithShape("[2.0]"), "has 2.0 in its shape"},
    {"TextSize", WithShape("[\"2\"]"), "has \"2\" in its shape"},
    {"SizeBeyond63Bits", WithShape("[9223372036854775808]"),
     "has 9223372036854775808 in its shape"},
    {"SizeBeyond64Bits", WithShape("[18446744073709551618]"), "in its shape"},
    {"ProductOverflows", WithShape("[4294967296,4294967296,2]"),
     "impossible shape [4294967296, 4294967296, 2]"},
    {"HalfAByte", OneTensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,8])"),
     "impossible shape [3]"},
    {"ShapeTooLarge", WithShape("[3]"),
     "'x' has 8 bytes, but F32 [3] takes 12"},
    {"ShapeTooSmall", WithShape("[1]"), "'x' has 8 bytes, but F32 [1] takes 4"},
    {"OneOffset", WithOffsets("[8]"), "no [begin, end]"},
    {"OffsetsReversed", WithOffsets("[8,0]"), "no [begin, end]"},
    {"NegativeOffset", WithOffsets("[-8,0]"), "has -8 in its data_offsets"},
    {"BeyondTheEnd", TwoTensors("[0,8]", "[8,16]", 12),
     "'y' ends at byte 16 of the data, which has 12"},
    {"Overlap", TwoTensors("[0,8]", "[4,12]", 12),
     "'y' overlaps the tensor before it"},
    {"SamePlace", TwoTensors("[0,8]", "[0,8]", 8), "'y' overlaps"},
    {"HoleAtTheStart", TwoTensors("[4,12]", "[12,20]", 20),
     "'x' comes after 4 bytes that belong to no tensor"},
    {"HoleBetween", TwoTensors("[0,8]", "[12,20]", 20),
     "'y' comes after 4 bytes that belong to no tensor"},
    {"HoleAtTheEnd", TwoTensors("[0,8]", "[8,16]", 17),
     "the last 1 bytes belong to no tensor"},
};

class BadSafetensorsTest : public ::testing::TestWithParam<BadFile> {};

INSTANTIATE_TEST_SUITE_P(Files, BadSafetensorsTest,
                         ::testing::ValuesIn(kBadFiles),
                         [](const auto& p) { return p.param.name; });

TEST_P(BadSafetensorsTest, IsRefusedByNameOfFileAndReason) {
  EXPECT_THAT(
      Parse(GetParam().file),
      StatusIs(absl::StatusCode::kDataLoss,
               AllOf(HasSubstr(kPath), HasSubstr(GetParam().complaint))));
}

}  // namespace
}  // namespace rtpurbo::testing
