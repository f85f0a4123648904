#include "trainer/plan/memory.h"

#include <algorithm>
#include <map>
#include <vector>

#include "trainer/plan/plan_groups.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kFloat = 4;

// Elements a token, and 4-byte numbers a token.
struct PerToken {
  std::int64_t elements = 0;
  std::int64_t numbers = 0;
  std::int64_t Bytes(std::int64_t size) const {
    return elements * size + numbers * kFloat;
  }
};

bool IsMoe(const PlanCase& one, std::int64_t layer) {
  return one.config.is_moe_layer[static_cast<std::size_t>(layer)];
}

// What every token's keys and values keep.
PerToken KeysOf(const PlanCase& one) {
  const ModelConfig& c = one.config;
  return {2 * c.hidden_size + 3 * c.num_kv_heads * c.head_width,
          1 + c.num_kv_heads};
}

PerToken QueriesOf(const PlanCase& one) {
  const ModelConfig& c = one.config;
  return {3 * c.num_heads * c.head_width, 2 * c.num_heads};
}

PerToken FeedForwardOf(const PlanCase& one, std::int64_t layer) {
  const ModelConfig& c = one.config;
  if (!IsMoe(one, layer)) {
    return {2 * c.hidden_size + 3 * c.mlp_size, 1};
  }
  const std::int64_t K = c.experts_per_token;
  return {2 * c.hidden_size + K * (2 * c.hidden_size + 3 * c.expert_size),
          1 + c.num_experts + 4 * K};
}

// Of one block without a tape, at its widest.
std::int64_t PassingBytes(const PlanCase& one, std::int64_t layer) {
  const ModelConfig& c = one.config;
  const std::int64_t D = c.hidden_size;
  std::int64_t wide = D + 3 * c.mlp_size;
  std::int64_t numbers = 2 + 2 * c.num_heads + c.num_kv_heads;
  if (IsMoe(one, layer)) {
    const std::int64_t K = c.experts_per_token;
    wide =
        std::max(D + K * (2 * D + c.expert_size), K * (D + 3 * c.expert_size));
    numbers += 2 * c.num_experts + 4 * K;
  }
  const PerToken all{5 * D + 3 * c.num_heads * c.head_width +
                         3 * c.num_kv_heads * c.head_width + wide,
                     numbers};
  return one.local_tokens() * all.Bytes(SizeOf(one.dtype));
}

// The gathered keys and values of a layer.
std::int64_t SequenceBytes(const PlanCase& one) {
  if (one.mesh.sequence == 1) {
    return 0;
  }
  const double heads = std::min(static_cast<double>(one.config.num_kv_heads),
                                one.retrieval_per_layer());
  return static_cast<std::int64_t>(
      2 * heads *
      static_cast<double>(one.tokens * one.config.head_width *
                          SizeOf(one.dtype)));
}

// Beyond what is kept, while the backward pass is in a block.
std::int64_t BackwardBytes(const PlanCase& one, std::int64_t layer) {
  constexpr std::int64_t kPieces = 16;
  const ModelConfig& c = one.config;
  const std::int64_t T = one.local_tokens();
  const std::int64_t size = SizeOf(one.dtype);
  const std::int64_t rows = IsMoe(one, layer) ? c.experts_per_token : 0;
  const std::int64_t experts = T * rows * c.hidden_size * size;
  std::int64_t attention = SequenceBytes(one);
  if (one.dtype == DType::kF32) {
    attention += kPieces * T * c.head_width * kFloat;
  }
  attention -= T * FeedForwardOf(one, layer).Bytes(size);
  return T * c.hidden_size * size + std::max(experts, attention);
}

std::int64_t DistillActivations(const PlanCase& one) {
  const std::int64_t layers = one.config.num_layers;
  std::int64_t kept = 0;
  std::int64_t widest = 0;
  std::int64_t passing = 0;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t block = KeptBytes(one, layer);
    kept += block;
    widest = std::max(widest, block + BackwardBytes(one, layer));
    passing = std::max(passing, BackwardBytes(one, layer));
  }
  if (!one.recompute) {
    return kept + passing;
  }
  return layers * one.local_tokens() * one.config.hidden_size *
             SizeOf(one.dtype) +
         widest;
}

std::int64_t AlignActivations(const PlanCase& one) {
  std::int64_t widest = 0;
  for (std::int64_t layer = 0; layer < one.config.num_layers; ++layer) {
    widest = std::max(widest, PassingBytes(one, layer));
  }
  return widest + SequenceBytes(one);
}

void AddParameters(const PlanCase& one, MemoryPlan* plan) {
  const std::int64_t size = SizeOf(one.dtype);
  std::map<Role, std::int64_t> ring;
  std::map<std::int64_t, std::int64_t> whole;  // by block
  std::int64_t sum = 0;
  for (const PlanGroup& group : GroupsOf(one)) {
    plan->weights += group.shard * (group.trainable ? kFloat : size);
    const bool used =
        one.stage == PlanStage::kDistill || group.role != Role::kHead;
    if (used && (group.ranks > 1 || (group.trainable && size != kFloat))) {
      ring[group.role] = std::max(ring[group.role], group.gathered * size);
    }
    if (!group.trainable) {
      continue;
    }
    plan->grads += group.shard * kFloat;
    plan->moments += group.shard * 2 * kFloat;
    if (group.ranks > 1) {
      whole[group.block] += group.gathered * kFloat;
      sum = std::max(sum, group.shard * kFloat);
    }
  }
  for (const auto& [role, bytes] : ring) {
    plan->gathered += 2 * bytes;
  }
  std::int64_t widest = 0;
  for (const auto& [block, bytes] : whole) {
    widest = std::max(widest, bytes);
  }
  plan->grads += widest + sum;
}

// The projections are in float and whole on every rank.
void AddProjections(const PlanCase& one, MemoryPlan* plan) {
  const std::int64_t bytes = 2 * one.retrieval_heads * one.projection_width *
                             one.config.head_width * kFloat;
  plan->weights += bytes;
  if (one.stage == PlanStage::kAlign) {
    plan->grads += bytes;
    plan->moments += 2 * bytes;
  }
}

}  // namespace

std::int64_t KeptBytes(const PlanCase& one, std::int64_t layer) {
  const std::int64_t T = one.local_tokens();
  const bool last = layer + 1 == one.config.num_layers;
  const std::int64_t rows = last ? std::min(T, one.output_rows) : T;
  const std::int64_t size = SizeOf(one.dtype);
  return T * KeysOf(one).Bytes(size) +
         rows * (QueriesOf(one).Bytes(size) +
                 FeedForwardOf(one, layer).Bytes(size));
}

MemoryPlan PlanMemory(const PlanCase& one) {
  MemoryPlan plan;
  AddParameters(one, &plan);
  AddProjections(one, &plan);
  plan.weights += one.max_positions * one.config.head_width * kFloat;
  plan.activations = one.stage == PlanStage::kAlign ? AlignActivations(one)
                                                    : DistillActivations(one);
  return plan;
}

}  // namespace rtpurbo
