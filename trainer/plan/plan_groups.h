// The groups of parameters of a model, in elements, as one rank of a mesh holds
// them.

#ifndef RTPURBO_TRAINER_PLAN_PLAN_GROUPS_H_
#define RTPURBO_TRAINER_PLAN_PLAN_GROUPS_H_

#include <cstdint>
#include <vector>

#include "trainer/plan/plan_case.h"

namespace rtpurbo {

struct PlanGroup {
  Role role = Role::kEmbedding;
  std::int64_t block = 0;  // -1: outside the blocks
  bool trainable = false;
  std::int64_t ranks = 1;     // that share it
  std::int64_t replicas = 1;  // that hold the same part of it
  std::int64_t gathered = 0;  // elements of a rank in use
  std::int64_t shard = 0;     // and between uses
  std::int64_t uses = 1;      // gathers of a forward pass
};

// In the order of the forward pass.
std::vector<PlanGroup> GroupsOf(const PlanCase& one);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PLAN_PLAN_GROUPS_H_
