// What fits where: meshes of a number of ranks, the best of them, and the
// smallest number of ranks that has one.

#ifndef RTPURBO_TRAINER_PLAN_PLAN_H_
#define RTPURBO_TRAINER_PLAN_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/schema/machine.pb.h"
#include "trainer/plan/memory.h"
#include "trainer/plan/plan_case.h"
#include "trainer/plan/step_time.h"

namespace rtpurbo {

struct Plan {
  PlanCase one;
  MemoryPlan memory;
  StepPlan step;
  double limit = 0;  // bytes that a rank may use

  bool fits() const { return static_cast<double>(memory.total()) <= limit; }
  // Of all ranks. A step whose sequences do not fill its ranks wastes them.
  double tokens_per_second() const {
    return static_cast<double>(one.sequences * one.tokens) / step.total();
  }
};

Plan PlanOn(const PlanCase& one, const configs::Machine& machine);

// `one` on every mesh of `num_ranks` whose shard, sequence and expert axes are
// powers of two (the replica axis takes the rest), that has experts to share
// and at least 64 tokens for a rank of the sequence axis. What fits comes
// first, the fastest of it before all, then what needs least memory.
std::vector<Plan> PlanMeshes(const PlanCase& one, std::int64_t num_ranks,
                             const configs::Machine& machine);

// The smallest power of two of ranks on which a mesh fits; none up to 65,536.
std::optional<std::int64_t> SmallestCount(const PlanCase& one,
                                          const configs::Machine& machine);

double GiB(std::int64_t bytes);

// For a terminal: a line for each plan.
std::string PlanTable(const std::vector<Plan>& plans);
// A JSON array, an object for each plan, bytes and seconds.
std::string PlanJson(const std::vector<Plan>& plans);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PLAN_PLAN_H_
