#include "trainer/plan/plan.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kMostRanks = 65'536;
constexpr std::int64_t kLeastTokens = 64;  // of a rank of the sequence axis

double LimitOf(const PlanCase& one, const configs::Machine& machine) {
  const double usable = machine.memory_bytes() * machine.usable_share();
  return machine.ranks_share_host()
             ? usable / static_cast<double>(one.num_ranks())
             : usable;
}

// Whether the model and the sequence can be cut so.
bool CanBeCut(const PlanCase& one, std::int64_t sequence, std::int64_t expert) {
  return CheckExpertAxis(one.config, static_cast<int>(expert), "").ok() &&
         (sequence == 1 || one.tokens >= kLeastTokens * sequence);
}

std::string MeshText(const MeshShape& mesh) {
  return absl::StrFormat("%d x %d x %d x %d", mesh.replica, mesh.shard,
                         mesh.sequence, mesh.expert);
}

}  // namespace

double GiB(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0);
}

Plan PlanOn(const PlanCase& one, const configs::Machine& machine) {
  return {one, PlanMemory(one), PlanStep(one, machine), LimitOf(one, machine)};
}

std::vector<Plan> PlanMeshes(const PlanCase& one, std::int64_t num_ranks,
                             const configs::Machine& machine) {
  std::vector<Plan> plans;
  for (std::int64_t expert = 1; num_ranks % expert == 0; expert *= 2) {
    for (std::int64_t sequence = 1; num_ranks % (expert * sequence) == 0;
         sequence *= 2) {
      const std::int64_t inner = expert * sequence;
      for (std::int64_t shard = 1;
           CanBeCut(one, sequence, expert) && num_ranks % (inner * shard) == 0;
           shard *= 2) {
        PlanCase cut = one;
        cut.mesh = {static_cast<int>(num_ranks / (inner * shard)),
                    static_cast<int>(shard), static_cast<int>(sequence),
                    static_cast<int>(expert)};
        plans.push_back(PlanOn(cut, machine));
      }
    }
  }
  std::stable_sort(
      plans.begin(), plans.end(), [](const Plan& a, const Plan& b) {
        const auto key = [](const Plan& plan) {
          return std::tuple(!plan.fits(), plan.fits() ? plan.step.total() : 0.0,
                            plan.memory.total());
        };
        return key(a) < key(b);
      });
  return plans;
}

std::optional<std::int64_t> SmallestCount(const PlanCase& one,
                                          const configs::Machine& machine) {
  for (std::int64_t n = 1; n <= kMostRanks; n *= 2) {
    if (PlanMeshes(one, n, machine).front().fits()) {
      return n;
    }
  }
  return std::nullopt;
}

std::string PlanTable(const std::vector<Plan>& plans) {
  std::string text =
      "GiB a rank, seconds a step; mesh: replica x shard x sequence x expert\n";
  absl::StrAppendFormat(
      &text, "%-8s%-22s%8s%9s%8s%8s%9s%8s%6s%10s%8s%8s%8s%8s%12s\n", "stage",
      "mesh", "weights", "gathered", "grads", "moments", "activ.", "total",
      "fits", "compute", "shard", "replica", "sequ.", "expert", "tokens/s");
  for (const Plan& plan : plans) {
    const MemoryPlan& m = plan.memory;
    const StepPlan& s = plan.step;
    absl::StrAppendFormat(
        &text,
        "%-8s%-22s%8.3f%9.3f%8.3f%8.3f%9.3f%8.3f%6s%10.3f%8.3f%8.3f%8.3f%8.3f"
        "%12.0f\n",
        Name(plan.one.stage), MeshText(plan.one.mesh), GiB(m.weights),
        GiB(m.gathered), GiB(m.grads), GiB(m.moments), GiB(m.activations),
        GiB(m.total()), plan.fits() ? "yes" : "no", s.compute, s.shard,
        s.replica, s.sequence, s.expert, plan.tokens_per_second());
  }
  return text;
}

std::string PlanJson(const std::vector<Plan>& plans) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Plan& plan : plans) {
    const MemoryPlan& m = plan.memory;
    const StepPlan& s = plan.step;
    rows.push_back({{"stage", Name(plan.one.stage)},
                    {"mesh",
                     {{"replica", plan.one.mesh.replica},
                      {"shard", plan.one.mesh.shard},
                      {"sequence", plan.one.mesh.sequence},
                      {"expert", plan.one.mesh.expert}}},
                    {"bytes",
                     {{"weights", m.weights},
                      {"gathered", m.gathered},
                      {"grads", m.grads},
                      {"moments", m.moments},
                      {"activations", m.activations},
                      {"total", m.total()},
                      {"limit", plan.limit}}},
                    {"fits", plan.fits()},
                    {"seconds",
                     {{"compute", s.compute},
                      {"shard", s.shard},
                      {"replica", s.replica},
                      {"sequence", s.sequence},
                      {"expert", s.expert},
                      {"total", s.total()}}},
                    {"tokens_per_second", plan.tokens_per_second()}});
  }
  return rows.dump(2) + "\n";
}

}  // namespace rtpurbo
