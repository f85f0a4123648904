// Every number here is computed by hand, from a model whose sizes are small.

#include "trainer/plan/step_time.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "trainer/plan/plan.h"
#include "trainer/plan/plan_groups.h"

namespace rtpurbo {
namespace {

// D 128, H 4, G 2, C 32, E 4, K 2, F 64, V 256, two layers, bf16: 10 tokens.
PlanCase Small() {
  PlanCase one;
  ModelConfig& c = one.config;
  c.vocab_size = 256;
  c.hidden_size = 128;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_width = 32;
  c.num_experts = 4;
  c.experts_per_token = 2;
  c.expert_size = 64;
  c.is_moe_layer = {true, true};
  one.dtype = DType::kBF16;
  one.trainable = {Role::kAttention};
  one.sequences = 4;
  one.tokens = 10;
  one.output_rows = 2;
  one.retrieval_heads = 2;
  one.window = 3;
  one.sinks = 1;
  one.projection_width = 8;
  return one;
}

configs::Machine Machine() {
  configs::Machine machine;
  machine.set_host_devices(2);
  machine.set_memory_bytes(1e9);
  machine.set_product_flops(1e9);
  machine.set_expert_flops(1e9);
  machine.set_attention_flops(1e9);
  machine.set_attention_backward_flops(1e9);
  machine.set_alignment_flops(1e9);
  machine.set_memory_bytes_per_second(1e9);
  machine.set_host_bytes_per_second(1e9);
  machine.set_network_bytes_per_second(1e8);
  machine.set_call_seconds(0);
  return machine;
}

TEST(StepTimeTest, PairsOfDenseAndLocalHeads) {
  // Dense: 55. Local rows see 1 2 3 4, then 4 and the sink five to ten: 40.
  EXPECT_DOUBLE_EQ(VisiblePairs(Small()), 1 * 55 + 3 * 40);
  PlanCase align = Small();
  align.stage = PlanStage::kAlign;
  EXPECT_DOUBLE_EQ(VisiblePairs(align), 4 * 55);
  PlanCase dense = Small();
  dense.dense_below = 10;
  EXPECT_DOUBLE_EQ(VisiblePairs(dense), 4 * 55);
}

TEST(StepTimeTest, WorkOfAStep) {
  const WorkPlan work = PlanWork(Small());
  // Query and output 4 x 128 x 128 a row, key and value 4 x 128 x 64; 10 rows,
  // then 2: forward, backward, weights. Router 2 x 128 x 4: forward, backward.
  // Labels 2 x 2 x 256 x 128 twice.
  EXPECT_DOUBLE_EQ(work.products, (12 * 65536.0 + 20 * 32768.0) * 3 +
                                      12 * 1024.0 * 2 + 131072.0 * 2);
  // 6 x 128 x 64 for each of two experts of 12 rows, forward and backward.
  EXPECT_DOUBLE_EQ(work.experts, 12 * 2 * 49152.0 * 2);
  // 175 pairs of the first layer, 4 heads x 2 rows x 10 of the last.
  EXPECT_DOUBLE_EQ(work.attention, 128 * (175.0 + 80));
  EXPECT_DOUBLE_EQ(work.attention_backward, 2.5 * 128 * (175.0 + 80));
}

TEST(StepTimeTest, GroupsAreSharedByAxis) {
  PlanCase one = Small();
  one.mesh = {.replica = 1, .shard = 2, .sequence = 1, .expert = 4};
  for (const PlanGroup& group : GroupsOf(one)) {
    if (group.role == Role::kExperts) {
      EXPECT_EQ(group.gathered, 3 * 64 * 128);  // one of four experts
    }
    EXPECT_EQ(group.ranks, 2);
    EXPECT_EQ(group.shard, group.gathered / 2);
  }
}

TEST(StepTimeTest, SecondsOnTheWire) {
  PlanCase one = Small();
  one.config.tied_head = true;
  one.mesh = {.replica = 1, .shard = 2, .sequence = 1, .expert = 1};
  // Elements: embedding 32768, used twice; blocks: attention 49152, norms 512
  // (two of 128 and two of 32 that take 128 each), router 512, experts 98304;
  // final norm 128 that takes 256. Two micro-batches, half of it is another's.
  const double gathered = 2 * 32768 + 2 * (49152 + 512 + 512 + 98304) + 256;
  const double grads = 2 * 49152;
  EXPECT_DOUBLE_EQ(PlanStep(one, Machine()).shard,
                   2 * 0.5 * (gathered * 2 * 2 + grads * 4) / 1e9);
  one.mesh = {.replica = 2, .shard = 2, .sequence = 1, .expert = 1};
  const StepPlan two = PlanStep(one, Machine());
  // Half of the attention's elements, between hosts.
  EXPECT_DOUBLE_EQ(two.replica, 2 * 0.5 * (grads / 2) * 4 / 1e8);
  one.mesh = {.replica = 1, .shard = 1, .sequence = 1, .expert = 2};
  // 10 tokens x 2 experts x 128 x 2 bytes, half elsewhere, four times a layer.
  EXPECT_DOUBLE_EQ(PlanStep(one, Machine()).expert,
                   2 * 4 * 2 * (10 * 2 * 128 * 2 * 0.5) / 1e9);
  one.mesh = {.replica = 1, .shard = 1, .sequence = 2, .expert = 1};
  // One key/value head gathered, one with a halo of 4 tokens, there and back.
  EXPECT_NEAR(PlanStep(one, Machine()).sequence,
              2 * 2 * 4 * (2 * 32 * (10 * 0.5 + 4) * 2) / 1e9, 1e-15);
}

TEST(StepTimeTest, RanksThatShareAHostShareItsCores) {
  configs::Machine machine = Machine();
  PlanCase one = Small();
  one.trainable = {};  // every rank has an optimizer of its own
  const double alone = PlanStep(one, machine).compute;
  machine.set_ranks_share_host(true);  // one rank takes both cores
  EXPECT_DOUBLE_EQ(PlanStep(one, machine).compute, alone / 2);
  one.mesh.replica = 4;  // a quarter of the sequences, half a core
  EXPECT_DOUBLE_EQ(PlanStep(one, machine).compute, alone / 2);
}

TEST(StepTimeTest, ExpertAxisPaysBelow) {
  EXPECT_DOUBLE_EQ(ExpertAxisPaysBelow(Small().config), 4 * 3 * 64 / 4.0);
  ModelConfig dense = Small().config;
  dense.num_experts = 0;
  EXPECT_DOUBLE_EQ(ExpertAxisPaysBelow(dense), 0);
  // At that bound both send the same: experts of a layer, forward.
  PlanCase one = Small();
  one.tokens = 192;
  one.sequences = 1;
  one.mesh.expert = 4;
  const double moved = PlanStep(one, Machine()).expert / 2 / 2;  // a layer
  EXPECT_NEAR(moved, 4 * 3 * 64 * 128 * 2 * 0.75 / 1e8, 1e-9);
}

TEST(PlanTest, SmallestCountIsTheFirstThatFits) {
  configs::Machine machine = Machine();
  PlanCase one = Small();
  one.trainable = {Role::kAttention, Role::kExperts, Role::kEmbedding};
  const auto need = [&](std::int64_t ranks) {
    std::int64_t least = 1'000'000'000;
    for (const Plan& plan : PlanMeshes(one, ranks, machine)) {
      least = std::min(least, plan.memory.total());
    }
    return static_cast<double>(least);
  };
  machine.set_usable_share(1);
  const double bound = need(4);
  ASSERT_LT(bound, need(2));
  machine.set_memory_bytes(bound);
  EXPECT_EQ(SmallestCount(one, machine), 4);
  machine.set_memory_bytes(bound - 1);
  EXPECT_GT(SmallestCount(one, machine).value_or(1 << 20), 4);
  machine.set_memory_bytes(1);
  EXPECT_FALSE(SmallestCount(one, machine).has_value());
}

TEST(PlanTest, WhatFitsAndIsFastComesFirst) {
  const std::vector<Plan> plans = PlanMeshes(Small(), 8, Machine());
  EXPECT_GT(plans.size(), 5U);
  for (std::size_t i = 1; i < plans.size(); ++i) {
    EXPECT_EQ(plans[i].one.num_ranks(), 8);
    EXPECT_TRUE(plans[i].fits());
    EXPECT_LE(plans[i - 1].step.total(), plans[i].step.total());
  }
}

}  // namespace
}  // namespace rtpurbo
