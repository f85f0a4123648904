#include "data/hdf5_file.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <typename T>
std::span<const T> View(const std::vector<T>& values) {
  return values;
}

template <typename T>
std::vector<T> Counting(std::size_t size, T first) {
  std::vector<T> values(size);
  std::iota(values.begin(), values.end(), first);
  return values;
}

class Hdf5FileTest : public ::testing::Test {
 protected:
  std::unique_ptr<Hdf5File> New() {
    auto file = Hdf5File::Create(files_, path_);
    EXPECT_OK(file);
    return *std::move(file);
  }
  std::unique_ptr<Hdf5File> Reopened() {
    auto file = Hdf5File::OpenForRead(files_, path_);
    EXPECT_OK(file);
    return *std::move(file);
  }

  // A value of each type, written, closed and read back.
  template <typename T>
  void ExpectRoundTrip(Hdf5Type type, const std::vector<T>& values) {
    const auto num_rows = static_cast<std::int64_t>(values.size());
    {
      const auto file = New();
      ASSERT_OK(file->CreateDataset("x", type, {num_rows}));
      ASSERT_OK(file->Write("x", 0, View(values)));
      ASSERT_OK(file->Close());
    }
    const auto file = Reopened();
    ASSERT_OK_AND_ASSIGN(const Hdf5DatasetInfo info, file->Describe("x"));
    EXPECT_EQ(info.type, type) << Name(type);
    std::vector<T> read(values.size());
    ASSERT_OK(file->Read("x", 0, std::span(read)));
    EXPECT_EQ(
        std::memcmp(read.data(), values.data(), values.size() * sizeof(T)), 0)
        << Name(type);
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  std::string path_ = dir_ / "a.h5";
  FileSystem& files_ = RealFileSystem();
};

TEST_F(Hdf5FileTest, KeepsEveryBitOfEveryType) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ExpectRoundTrip<float>(Hdf5Type::kF32, {0.0F, -0.0F, nan, 1e-45F, -INFINITY});
  ExpectRoundTrip<double>(Hdf5Type::kF64, {1.0 / 3, -5e-324, NAN});
  ExpectRoundTrip<BFloat16>(Hdf5Type::kBF16, {BFloat16(1.5F), BFloat16(nan)});
  ExpectRoundTrip<std::int32_t>(Hdf5Type::kI32, {-1, INT32_MIN, 7});
  ExpectRoundTrip<std::int64_t>(Hdf5Type::kI64, {-1, INT64_MIN, 7});
  ExpectRoundTrip<std::uint8_t>(Hdf5Type::kU8, {0, 255, 7});
  ExpectRoundTrip<std::uint16_t>(Hdf5Type::kU16, {0, 65535, 7});
  ExpectRoundTrip<std::uint32_t>(Hdf5Type::kU32, {0, UINT32_MAX, 7});
  ExpectRoundTrip<std::uint64_t>(Hdf5Type::kU64, {0, UINT64_MAX, 7});
}

TEST_F(Hdf5FileTest, AppendsWholeRowsAndReadsAnyRange) {
  const auto values = Counting<std::uint32_t>(std::size_t{3} * 1000, 5);
  {
    const auto file = New();
    ASSERT_OK(file->CreateExtendable("a/b/x", Hdf5Type::kU32, {3}, 64));
    for (std::size_t row = 0; row < 1000;) {  // pieces that straddle chunks
      const std::size_t n = std::min<std::size_t>(1 + row % 97, 1000 - row);
      ASSERT_OK(file->Append("a/b/x", View(values).subspan(3 * row, 3 * n)));
      row += n;
    }
    ASSERT_OK(file->Append("a/b/x", std::span<const std::uint32_t>()));
    ASSERT_OK(file->Close());
  }
  {  // goes on after a close
    ASSERT_OK_AND_ASSIGN(const auto file,
                         Hdf5File::OpenForWrite(files_, path_));
    ASSERT_OK(file->Append("a/b/x", View(values).first(6)));
    ASSERT_OK(file->Write("a/b/x", 1001, View(values).first(3)));
    ASSERT_OK(file->Close());
  }
  const auto file = Reopened();
  EXPECT_EQ(file->Describe("a/b/x")->shape, (Shape{1002, 3}));
  for (const std::size_t begin : {0U, 63U, 64U, 500U, 999U}) {
    std::vector<std::uint32_t> read(3 *
                                    std::min<std::size_t>(200, 1000 - begin));
    ASSERT_OK(
        file->Read("a/b/x", static_cast<std::int64_t>(begin), std::span(read)));
    EXPECT_EQ(read, std::vector<std::uint32_t>(
                        values.begin() + 3 * begin,
                        values.begin() + 3 * begin + read.size()));
  }
  std::vector<std::uint32_t> last(6);
  ASSERT_OK(file->Read("a/b/x", 1000, std::span(last)));
  EXPECT_THAT(last, ElementsAre(5, 6, 7, 5, 6, 7));
  EXPECT_THAT(*file->List(""), ElementsAre("a"));
  EXPECT_THAT(*file->List("a"), ElementsAre("b"));
  EXPECT_THAT(*file->List("a/b"), ElementsAre("x"));
}

TEST_F(Hdf5FileTest, CuttingRowsForgetsThem) {
  const auto file = New();
  ASSERT_OK(file->CreateExtendable("x", Hdf5Type::kI32, {}, 4));
  ASSERT_OK(file->Append("x", View(Counting<std::int32_t>(10, 1))));
  ASSERT_OK(file->SetNumRows("x", 3));
  ASSERT_OK(file->SetNumRows("x", 5));
  std::vector<std::int32_t> read(5);
  ASSERT_OK(file->Read("x", 0, std::span(read)));
  EXPECT_THAT(read, ElementsAre(1, 2, 3, 0, 0));
}

TEST_F(Hdf5FileTest, BytesWrittenAtTheOffsetAreTheDataset) {
  std::int64_t offset = 0;
  {
    const auto file = New();
    ASSERT_OK(file->CreateDataset("a/x", Hdf5Type::kF32, {50, 7}));
    ASSERT_OK(file->CreateDataset("a/y", Hdf5Type::kF32, {1}));
    ASSERT_OK_AND_ASSIGN(offset, file->DatasetOffset("a/x"));
    ASSERT_OK(file->Close());
  }
  EXPECT_GE(*files_.Size(path_), offset + std::int64_t{50} * 7 * 4);
  const auto values = Counting<float>(std::size_t{50} * 7, 0.5F);
  ASSERT_OK_AND_ASSIGN(const auto raw,
                       files_.OpenForWrite(path_, WriteMode::kExisting));
  ASSERT_OK(raw->WriteAt(offset, std::as_bytes(View(values))));
  ASSERT_OK(raw->Close());
  const auto file = Reopened();
  EXPECT_EQ(*file->DatasetOffset("a/x"), offset);
  std::vector<float> read(values.size());
  ASSERT_OK(file->Read("a/x", 0, std::span(read)));
  EXPECT_EQ(read, values);
  std::vector<float> other(1, 9);
  ASSERT_OK(file->Read("a/y", 0, std::span(other)));
  EXPECT_EQ(other[0], 0);
}

TEST_F(Hdf5FileTest, EmptyAndScalarDatasetsWork) {
  const auto file = New();
  ASSERT_OK(file->CreateDataset("empty", Hdf5Type::kF32, {0, 3}));
  ASSERT_OK(file->CreateDataset("scalar", Hdf5Type::kF32, {}));
  ASSERT_OK(file->Read("empty", 0, std::span<float>()));
  EXPECT_THAT(file->DatasetOffset("empty"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("empty of " + path_ + " [0, 3]")));
  const float one = 1;
  ASSERT_OK(file->Write("scalar", 0, std::span<const float>(&one, 1)));
  float read = 0;
  ASSERT_OK(file->Read("scalar", 0, std::span<float>(&read, 1)));
  EXPECT_EQ(read, 1);
  EXPECT_THAT(file->Describe("scalar")->shape, IsEmpty());
}

TEST_F(Hdf5FileTest, AttributesKeepTheirValues) {
  const std::string odd("a\0\xc3\xa4\n", 5);
  const std::string large(200'000, 'x');
  {
    const auto file = New();
    ASSERT_OK(file->CreateGroup("g"));
    ASSERT_OK(file->SetText("", "odd", "first"));
    ASSERT_OK(file->SetText("", "odd", odd));
    ASSERT_OK(file->SetText("g", "empty", ""));
    ASSERT_OK(file->SetText("g", "large", large));
    ASSERT_OK(file->SetInt("g", "int", INT64_MIN));
    ASSERT_OK(file->SetDouble("g", "double", 0.1));
    ASSERT_OK(file->Close());
  }
  const auto file = Reopened();
  EXPECT_EQ(*file->Text("", "odd"), odd);
  EXPECT_EQ(*file->Text("g", "empty"), "");
  EXPECT_EQ(*file->Text("g", "large"), large);
  EXPECT_EQ(*file->Int("g", "int"), INT64_MIN);
  EXPECT_EQ(*file->Double("g", "double"), 0.1);
  EXPECT_THAT(file->Text("g", "int"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(file->Int("g", "double"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(file->Int("g", "none"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(path_), HasSubstr("'none'"))));
}

TEST_F(Hdf5FileTest, WrongRequestsAreErrors) {
  const auto file = New();
  ASSERT_OK(file->CreateDataset("x", Hdf5Type::kF32, {4, 2}));
  EXPECT_THAT(file->CreateDataset("x", Hdf5Type::kF32, {1}),
              StatusIs(absl::StatusCode::kAlreadyExists));
  std::vector<float> four(4);
  EXPECT_THAT(file->Read("x", 3, std::span(four)),
              StatusIs(absl::StatusCode::kOutOfRange,
                       HasSubstr("has 4 rows; rows [3, 5)")));
  EXPECT_THAT(file->Read("x", -1, std::span(four)),
              StatusIs(absl::StatusCode::kOutOfRange));
  std::vector<std::int32_t> ints(2);
  EXPECT_THAT(file->Read("x", 0, std::span(ints)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("holds f32, but i32 was asked for")));
  EXPECT_THAT(
      file->Append("x", View(four)),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("fixed size")));
  EXPECT_THAT(file->Read("no/such", 0, std::span(four)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'no/such'")));
  EXPECT_FALSE(*file->Exists("no/such"));
  EXPECT_TRUE(*file->Exists("x"));
  EXPECT_FALSE(file->Describe("x/y").ok());
}

TEST_F(Hdf5FileTest, OtherFilesAreRefused) {
  EXPECT_THAT(Hdf5File::OpenForRead(files_, path_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
  ASSERT_OK(files_.WriteFileAtomically(path_, std::string(5000, 'x')));
  EXPECT_THAT(Hdf5File::OpenForRead(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(path_), HasSubstr("not an HDF5"))));
  ASSERT_OK(files_.WriteFileAtomically(path_, ""));
  EXPECT_THAT(Hdf5File::OpenForRead(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss));
  {
    const auto file = New();
    ASSERT_OK(file->CreateDataset("x", Hdf5Type::kF32, {1000}));
    ASSERT_OK(file->Close());
  }
  ASSERT_OK(files_.Truncate(path_, *files_.Size(path_) - 100));
  EXPECT_THAT(Hdf5File::OpenForRead(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(Hdf5FileTest, AFileThatWasNotClosedIsRefused) {
  const auto file = New();
  ASSERT_OK(file->CreateDataset("x", Hdf5Type::kF32, {10}));
  ASSERT_OK(file->Flush());
  EXPECT_THAT(Hdf5File::OpenForRead(files_, path_),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("not closed by its writer")));
}

absl::Status WriteAll(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, Hdf5File::Create(files, path));
  RETURN_IF_ERROR(file->CreateExtendable("g/x", Hdf5Type::kF32, {5}, 10));
  for (int i = 0; i < 20; ++i) {
    RETURN_IF_ERROR(file->Append("g/x", View(Counting<float>(50, 1))));
  }
  RETURN_IF_ERROR(file->CreateDataset("g/y", Hdf5Type::kBF16, {100, 100}));
  RETURN_IF_ERROR(file->SetText("g", "text", "value"));
  RETURN_IF_ERROR(file->Flush());
  RETURN_IF_ERROR(file->Append("g/x", View(Counting<float>(15, 1))));
  return file->Close();
}

TEST_F(Hdf5FileTest, SameCallsGiveTheSameBytes) {
  ASSERT_OK(WriteAll(files_, path_));
  const std::string first = *files_.ReadFile(path_);
  // Times in the file, if there were any, would count seconds.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  ASSERT_OK(WriteAll(files_, dir_ / "b.h5"));
  EXPECT_EQ(*files_.ReadFile(dir_ / "b.h5"), first);
}

TEST_F(Hdf5FileTest, FailureOfAnyCallIsReported) {
  FailingFileSystem counting(files_);
  ASSERT_OK(WriteAll(counting, path_));
  const std::int64_t num_calls = counting.calls();
  ASSERT_GE(num_calls, 10);
  for (std::int64_t k = 1; k <= num_calls; ++k) {
    FailingFileSystem once(files_);
    once.FailOnce(k, EIO);
    EXPECT_THAT(WriteAll(once, path_),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr(path_)))
        << k;
    FailingFileSystem from(files_);
    from.FailFrom(k, ENOSPC);
    EXPECT_THAT(WriteAll(from, path_),
                StatusIs(absl::StatusCode::kResourceExhausted,
                         HasSubstr("the disk is full")))
        << k;
  }
  ASSERT_OK(WriteAll(files_, path_));  // the library is as good as new
  EXPECT_OK(Hdf5File::OpenForRead(files_, path_));
}

TEST_F(Hdf5FileTest, FailureOfAnyReadIsReported) {
  ASSERT_OK(WriteAll(files_, path_));
  const auto read_all = [&](FileSystem& files) -> absl::Status {
    ASSIGN_OR_RETURN(const auto file, Hdf5File::OpenForRead(files, path_));
    std::vector<float> values(1000);
    RETURN_IF_ERROR(file->Read("g/x", 0, std::span(values)));
    ASSIGN_OR_RETURN(const std::string text, file->Text("g", "text"));
    return text == "value" && values[999] == 50
               ? file->Close()
               : absl::InternalError("read something else");
  };
  std::int64_t k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailOnce(k, EIO);
    const absl::Status status = read_all(failing);
    if (failing.calls() < k) {
      ASSERT_OK(status);
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable)) << k;
  }
  EXPECT_GE(k, 5);
}

TEST_F(Hdf5FileTest, FilesOfManyThreadsDoNotMix) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string path = dir_ / std::to_string(t);
      for (int i = 0; i < 5; ++i) {
        EXPECT_OK(WriteAll(files_, path));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (int t = 1; t < 4; ++t) {
    EXPECT_EQ(*files_.ReadFile(dir_ / std::to_string(t)),
              *files_.ReadFile(dir_ / "0"));
  }
}

}  // namespace
}  // namespace rtpurbo::testing
