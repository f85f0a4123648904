// Weights that each rank reads for itself.

#include <algorithm>
#include <vector>

#include "dist/pretend_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/small_teacher.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

// Each group's part of rank `rank`.
std::vector<std::vector<float>> ShardsOf(const std::string& folder, int rank,
                                         int size) {
  const auto device = *Device::Open(DeviceType::kCpu);
  PretendCommunicator comm(rank, size);
  Transformer::Options options;
  options.max_positions = 8;
  options.comm = &comm;
  const auto model =
      LoadTransformer(device->ctx(), RealFileSystem(), folder, options);
  EXPECT_OK(model.status());
  std::vector<std::vector<float>> shards;
  for (const Transformer::Group& group : (*model)->groups()) {
    shards.push_back(ToHost<float>(device->ctx(), group.params->shard()));
  }
  return shards;
}

TEST(LoadingTest, TheRanksReadThePartsOfTheWhole) {
  TemporaryDirectory directory;
  WriteSmallTeacher(directory.path());
  const auto whole = ShardsOf(directory.path(), 0, 1);
  for (const int size : {2, 3, 5, 8}) {
    std::vector<std::vector<float>> joined(whole.size());
    for (int rank = 0; rank < size; ++rank) {
      const auto shards = ShardsOf(directory.path(), rank, size);
      ASSERT_EQ(shards.size(), whole.size());
      for (std::size_t i = 0; i < whole.size(); ++i) {
        EXPECT_LE(shards[i].size(), whole[i].size() / size + 128);
        joined[i].insert(joined[i].end(), shards[i].begin(), shards[i].end());
      }
    }
    for (std::size_t i = 0; i < whole.size(); ++i) {
      ASSERT_GE(joined[i].size(), whole[i].size());
      EXPECT_TRUE(
          std::equal(whole[i].begin(), whole[i].end(), joined[i].begin()))
          << "group " << i << " of " << size << " ranks";
    }
  }
}

// Of a frozen model: its shards in their type, and a piece while it is read.
TEST(LoadingTest, OnePieceIsHeldBesideTheShards) {
  TemporaryDirectory directory;
  WriteSmallTeacher(directory.path());
  const auto device = *Device::Open(DeviceType::kCpu);
  PretendCommunicator comm(1, 4);
  Transformer::Options options;
  options.dtype = DType::kBF16;
  options.comm = &comm;
  const auto model = *LoadTransformer(device->ctx(), RealFileSystem(),
                                      directory.path(), options);
  std::int64_t shards = 0;
  for (const Transformer::Group& group : model->groups()) {
    EXPECT_EQ(group.params->shard().dtype(), DType::kBF16);
    shards += group.params->shard().num_bytes();
  }
  const Allocator& counters = device->ctx().allocator;
  EXPECT_EQ(counters.usage().in_use, shards);
  EXPECT_EQ(counters.usage().peak, shards + (std::int64_t{4} << 20));
}

// Whoever needs the others says so instead of waiting for them.
TEST(LoadingTest, APretendedRankIsAlone) {
  const auto device = *Device::Open(DeviceType::kCpu);
  PretendCommunicator comm(2, 4);
  EXPECT_EQ(comm.rank(), 2);
  EXPECT_EQ(comm.size(), 4);
  EXPECT_THAT(comm.Barrier(),
              StatusIs(absl::StatusCode::kUnavailable,
                       ::testing::HasSubstr("rank 2 of 4 only pretends")));
}

}  // namespace
}  // namespace rtpurbo::testing
