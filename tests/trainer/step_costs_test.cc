#include "trainer/step_costs.h"

#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/dist/ranks.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

constexpr std::chrono::milliseconds kSlow{60};

// Rank 2 works for longer; all others wait for it in a call over the shards.
TEST(StepCostsTest, TellWorkFromWaiting) {
  RunCpuRanks(4, [](const ExecContext& ctx, Communicator& world) {
    ASSERT_OK_AND_ASSIGN(const auto mesh,
                         Mesh::Create({.replica = 2, .shard = 2}, &world));
    StepMeter meter(ctx, world, mesh->named_groups());
    Tensor before = Tensor::Zeros(ctx, DType::kF32, {1000});
    ASSERT_OK(world.AllReduce(ctx, ReduceOp::kSum, &before));  // not counted
    meter.Begin();
    if (world.rank() == 2) {
      std::this_thread::sleep_for(kSlow);
    }
    Tensor sum = Tensor::Zeros(ctx, DType::kF32, {8});
    ASSERT_OK(
        mesh->along(MeshAxis::kShard).AllReduce(ctx, ReduceOp::kSum, &sum));
    ASSERT_OK_AND_ASSIGN(const StepCosts costs, meter.End());

    ASSERT_EQ(costs.axes.size(), 3U);
    EXPECT_EQ(costs.axes[0].name, "replica");
    EXPECT_EQ(costs.axes[0].bytes_sent, 0);
    EXPECT_EQ(costs.axes[1].name, "shard");
    // Two steps of half of 8 floats, by each of four ranks.
    EXPECT_EQ(costs.axes[1].bytes_sent, 4 * 2 * 4 * 4);
    EXPECT_EQ(costs.axes[2].name, "world");
    EXPECT_EQ(costs.slowest_rank, 2);
    const double slow = std::chrono::duration<double>(kSlow).count();
    EXPECT_LE(slow, costs.slowest_work_seconds);
    EXPECT_LE(slow / 4, costs.work_seconds);
    EXPECT_LT(costs.work_seconds, costs.slowest_work_seconds);
    // Rank 3 waited for it: at least a part of a quarter of all seconds.
    EXPECT_LE(slow / 8, costs.axes[1].seconds);
    EXPECT_LE(1000 * 4, costs.peak_bytes);
  });
}

TEST(StepCostsTest, OneRankHasNoAxes) {
  RunCpuRanks(1, [](const ExecContext& ctx, Communicator& world) {
    ASSERT_OK_AND_ASSIGN(const auto mesh, Mesh::Create({}, &world));
    StepMeter meter(ctx, world, mesh->named_groups());
    meter.Begin();
    ASSERT_OK_AND_ASSIGN(const StepCosts costs, meter.End());
    EXPECT_TRUE(costs.axes.empty());
    EXPECT_EQ(costs.slowest_rank, 0);
  });
}

}  // namespace
}  // namespace rtpurbo::testing
