#include "trainer/plan/step_time.h"

#include <algorithm>

#include "trainer/plan/memory.h"
#include "trainer/plan/plan_groups.h"

namespace rtpurbo {
namespace {

// Reads and writes, by the operators of a block, of what it keeps.
constexpr double kPasses = 3;
constexpr double kOptimizerBytes = 32;

double D(std::int64_t n) {
  return static_cast<double>(n);
}

bool Trains(const PlanCase& one, Role role) {
  return one.trainable.count(role) > 0;
}

// How often a product is done, beside its weight's gradient.
double Passes(const PlanCase& one, Role role) {
  if (one.stage == PlanStage::kAlign) {
    return 1;
  }
  return 2 + (one.recompute ? 1 : 0) + (Trains(one, role) ? 1 : 0);
}

// Products of one block over `keys` tokens of keys, and `rows` of all else.
void AddBlock(const PlanCase& one, std::int64_t layer, double keys, double rows,
              WorkPlan* work) {
  const ModelConfig& c = one.config;
  const double width = D(c.hidden_size);
  const double attention = 4 * width *
                           (rows * D(c.num_heads * c.head_width) +
                            keys * D(c.num_kv_heads * c.head_width));
  work->products += attention * Passes(one, Role::kAttention);
  if (!c.is_moe_layer[static_cast<std::size_t>(layer)]) {
    work->products +=
        6 * rows * width * D(c.mlp_size) * Passes(one, Role::kExperts);
    return;
  }
  work->products +=
      2 * rows * width * D(c.num_experts) * Passes(one, Role::kRouter);
  work->experts += 6 * rows * D(c.experts_per_token) * width *
                   D(c.expert_size) * Passes(one, Role::kExperts);
}

void AddAlignment(const PlanCase& one, WorkPlan* work) {
  const double pairs = one.loss_rows * D(one.tokens) * (1 + one.rows_from) / 2;
  work->alignment = pairs * D(one.retrieval_heads) *
                    D(2 * one.config.head_width + 4 * one.projection_width) /
                    D(one.mesh.sequence);
}

void AddLabels(const PlanCase& one, WorkPlan* work) {
  const ModelConfig& c = one.config;
  work->products += 2 * D(one.output_rows) * D(c.vocab_size) *
                    D(c.hidden_size) * (Trains(one, Role::kHead) ? 3 : 2);
}

// Bytes a second that a rank sends in a group of `size` whose neighbours are
// `stride` ranks apart.
double LinkRate(const configs::Machine& machine, std::int64_t size,
                std::int64_t stride) {
  const bool one_host =
      machine.ranks_share_host() || size * stride <= machine.host_devices();
  return one_host ? machine.host_bytes_per_second()
                  : machine.network_bytes_per_second();
}

double Outside(std::int64_t size) {
  return D(size - 1) / D(size);
}

double ShardSeconds(const PlanCase& one, const configs::Machine& machine) {
  const bool backward = one.stage == PlanStage::kDistill;
  double seconds = 0;
  for (const PlanGroup& group : GroupsOf(one)) {
    if (group.ranks == 1 || (!backward && group.role == Role::kHead)) {
      continue;
    }
    const double times = D(group.uses) * (backward ? 2 : 1);
    double bytes = D(group.gathered) * D(SizeOf(one.dtype)) * times;
    double calls = times;
    if (group.trainable) {
      bytes += D(group.gathered) * 4 * D(group.uses);
      calls += D(group.uses);
    }
    seconds += bytes * Outside(group.ranks) /
                   LinkRate(machine, group.ranks, one.mesh.expert) +
               calls * machine.call_seconds();
  }
  return seconds * D(one.micro_batches());
}

double ReplicaSeconds(const PlanCase& one, const configs::Machine& machine) {
  if (one.stage == PlanStage::kAlign) {
    return 0;  // its projections are small
  }
  double seconds = 0;
  for (const PlanGroup& group : GroupsOf(one)) {
    const std::int64_t n = group.replicas;
    if (group.trainable && n > 1) {
      seconds += 2 * Outside(n) * D(group.shard) * 4 /
                     LinkRate(machine, n, one.num_ranks() / n) +
                 machine.call_seconds();
    }
  }
  return seconds;
}

double SequenceSeconds(const PlanCase& one, const configs::Machine& machine) {
  const std::int64_t n = one.mesh.sequence;
  if (n == 1) {
    return 0;
  }
  const ModelConfig& c = one.config;
  const double dense = std::min(D(c.num_kv_heads), one.retrieval_per_layer());
  const double halo = D(std::min(one.tokens, one.window + one.sinks)) *
                      (D(c.num_kv_heads) - dense);
  const double elements =
      2 * D(c.head_width) * (dense * D(one.tokens) * Outside(n) + halo);
  const double times = one.stage == PlanStage::kAlign ? 1
                       : one.recompute                ? 3
                                                      : 2;
  const double rate = LinkRate(machine, n, one.mesh.expert);
  return D(c.num_layers) * times * D(one.micro_batches()) *
         (elements * D(SizeOf(one.dtype)) / rate + machine.call_seconds());
}

double ExpertSeconds(const PlanCase& one, const configs::Machine& machine) {
  const std::int64_t n = one.mesh.expert;
  if (n == 1) {
    return 0;
  }
  const ModelConfig& c = one.config;
  const double bytes = D(one.local_tokens()) * D(c.experts_per_token) *
                       D(c.hidden_size) * D(SizeOf(one.dtype)) * Outside(n);
  const double times = one.stage == PlanStage::kAlign ? 2
                       : one.recompute                ? 6
                                                      : 4;
  const double layers =
      D(std::count(c.is_moe_layer.begin(), c.is_moe_layer.end(), true));
  return layers * times * D(one.micro_batches()) *
         (bytes / LinkRate(machine, n, 1) + machine.call_seconds());
}

double OptimizerBytes(const PlanCase& one) {
  double bytes = 0;
  for (const PlanGroup& group : GroupsOf(one)) {
    bytes += group.trainable ? D(group.shard) * kOptimizerBytes : 0;
  }
  return bytes;
}

}  // namespace

double VisiblePairs(const PlanCase& one) {
  const double n = D(one.tokens);
  const double all = n * (n + 1) / 2;
  const double heads = D(one.config.num_heads);
  const double near = D(one.window + 1);
  if (one.stage == PlanStage::kAlign || one.tokens <= one.dense_below ||
      n <= near + D(one.sinks)) {
    return heads * all;
  }
  const double local = near * (near + 1) / 2 +
                       (n - near) * (near + D(one.sinks)) -
                       D(one.sinks * (one.sinks - 1)) / 2;
  const double retrieve = std::min(heads, one.retrieval_per_layer());
  return retrieve * all + (heads - retrieve) * local;
}

WorkPlan PlanWork(const PlanCase& one) {
  WorkPlan work;
  const ModelConfig& c = one.config;
  const bool backward = one.stage == PlanStage::kDistill;
  const double T = D(one.local_tokens());
  const double forwards = backward && one.recompute ? 2 : 1;
  double kept = 0;
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    const bool last = layer + 1 == c.num_layers && backward;
    AddBlock(one, layer, T, last ? std::min(T, D(one.output_rows)) : T, &work);
    kept += D(KeptBytes(one, layer));
  }
  // The last layer of distill has few queries.
  const double layers = D(c.num_layers - (backward ? 1 : 0));
  const double pairs = VisiblePairs(one) * layers / D(one.mesh.sequence) +
                       (backward ? D(c.num_heads * one.output_rows) * T : 0);
  work.attention = 4 * D(c.head_width) * pairs * forwards;
  work.attention_backward = backward ? 2.5 * 4 * D(c.head_width) * pairs : 0;
  work.passing_bytes = kPasses * kept * (forwards + (backward ? 2 : 0));
  if (backward) {
    AddLabels(one, &work);
  } else {
    AddAlignment(one, &work);
  }
  return work;
}

StepPlan PlanStep(const PlanCase& one, const configs::Machine& machine) {
  const WorkPlan work = PlanWork(one);
  // A rank's devices: less than one where there are more ranks than devices.
  const double devices = machine.ranks_share_host()
                             ? D(machine.host_devices()) / D(one.num_ranks())
                             : 1;
  StepPlan step;
  step.compute =
      D(one.micro_batches()) *
          (work.products / machine.product_flops() +
           work.experts / machine.expert_flops() +
           work.attention / machine.attention_flops() +
           work.attention_backward / machine.attention_backward_flops() +
           work.alignment / machine.alignment_flops() +
           work.passing_bytes / machine.memory_bytes_per_second()) +
      OptimizerBytes(one) / machine.memory_bytes_per_second();
  step.compute /= devices;
  step.shard = ShardSeconds(one, machine);
  step.replica = ReplicaSeconds(one, machine);
  step.sequence = SequenceSeconds(one, machine);
  step.expert = ExpertSeconds(one, machine);
  return step;
}

double ExpertAxisPaysBelow(const ModelConfig& config) {
  return config.num_experts == 0
             ? 0
             : D(config.num_experts * 3 * config.expert_size) /
                   D(2 * config.experts_per_token);
}

}  // namespace rtpurbo
