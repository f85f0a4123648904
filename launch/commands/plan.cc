// rtpurbo plan: memory and time of a run before it is started.

#include "trainer/plan/plan.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/load.h"
#include "configs/machine.h"
#include "data/file_system.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "trainer/conversion/run_mesh.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

class PlanCommand : public Command {
 public:
  absl::string_view name() const override { return "plan"; }
  absl::string_view summary() const override {
    return "says how much memory and time a run needs on how many ranks";
  }
  absl::string_view description() const override {
    return "Computes, without starting anything, the peak memory of a rank and "
           "the seconds of a step of both training stages (align, distill), "
           "from the configuration, config.json of the model and the constants "
           "of a machine. With the configuration's mesh, if it has one of "
           "--ranks processes; with --all, the best of all meshes of --ranks. "
           "Communication is not taken to be hidden behind computation, and "
           "memory that is not the allocator's (libraries, the program) is not "
           "counted.\n"
           "Ends with code 3 if a stage does not fit, and names the smallest "
           "power of two of ranks on which it does.";
  }
  void AddFlags(FlagSet* flags) override {
    flags->Add("run", "FILE", "Configuration of the run, a text file.", &run_);
    flags->Add("set", "PATH=VALUE",
               "Replaces a field of the configuration, as in "
               "--set mesh.shard=8.",
               &set_);
    flags->Add("machine", "FILE",
               "Constants of the machine, a text file (configs/machines has "
               "some; configs/schema/machine.proto says what they are).",
               &machine_);
    flags->Add("ranks", "N", "Number of processes.", &ranks_);
    flags->Add("all",
               "Whether to compare all meshes of --ranks instead of the "
               "configuration's; the best six of a stage are printed.",
               &all_);
    flags->Add("json", "Prints JSON instead of a table.", &json_);
  }

  absl::Status Run(const std::vector<std::string>& /*arguments*/) override {
    if (run_.empty() || machine_.empty()) {
      return absl::InvalidArgumentError(
          "plan needs --run FILE and --machine FILE (try "
          "configs/machines/h100_80gb.textproto)");
    }
    if (ranks_ < 1 || ranks_ > 65'536) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ranks is ", ranks_, ", but must be in [1, 65536]"));
    }
    ASSIGN_OR_RETURN(const std::string text,
                     RealFileSystem().ReadFile(machine_));
    ASSIGN_OR_RETURN(const configs::Machine machine,
                     ParseMachine(text, machine_));
    ASSIGN_OR_RETURN(const configs::Run run, LoadRun(run_, set_, ranks_));
    ASSIGN_OR_RETURN(const ModelConfig config,
                     ReadModelConfig(RealFileSystem(), run.model().path()));
    const MeshShape mesh = ShapeOf(run.mesh());
    return Print({CaseOf(run, config, PlanStage::kAlign, mesh),
                  CaseOf(run, config, PlanStage::kDistill, mesh)},
                 machine);
  }

 private:
  absl::Status Print(const std::vector<PlanCase>& stages,
                     const configs::Machine& machine) const {
    std::vector<Plan> plans;
    std::string notes = Axes(stages.back());
    std::string unfit;
    for (const PlanCase& one : stages) {
      std::vector<Plan> found = all_ ? PlanMeshes(one, ranks_, machine)
                                     : std::vector{PlanOn(one, machine)};
      if (!found.front().fits()) {
        absl::StrAppend(&unfit, Unfit(found.front(), machine));
      }
      constexpr std::size_t kShown = 6;
      found.resize(std::min(found.size(), kShown));
      plans.insert(plans.end(), found.begin(), found.end());
    }
    if (json_) {
      std::cout << PlanJson(plans);
    } else {
      std::cout << machine.name() << ", " << ranks_ << " ranks, "
                << stages.back().tokens << " tokens\n"
                << PlanTable(plans) << notes;
    }
    return unfit.empty() ? absl::OkStatus()
                         : absl::FailedPreconditionError(unfit.substr(1));
  }

  // When the axes that cut a sequence or a layer pay.
  static std::string Axes(const PlanCase& one) {
    std::string text;
    const double below = ExpertAxisPaysBelow(one.config);
    if (below > 0) {
      absl::StrAppendFormat(
          &text,
          "expert axis: sends less than gathering the experts below %.0f "
          "tokens of a rank (E 3 F / 2 K); it has %d\n",
          below, one.local_tokens());
    }
    absl::StrAppendFormat(
        &text,
        "sequence axis: for more than %d ranks (the sequences of a step of "
        "distill), or where one sequence does not fit\n",
        one.sequences);
    return text;
  }

  std::string Unfit(const Plan& plan, const configs::Machine& machine) const {
    const auto smallest = SmallestCount(plan.one, machine);
    return absl::StrFormat(
        "\n%s needs %.2f GiB a rank on %s, but %s lets a rank have %.2f; %s",
        Name(plan.one.stage), GiB(plan.memory.total()),
        all_ ? absl::StrCat("the best mesh of ", ranks_, " ranks")
             : Describe(plan.one.mesh),
        machine.name(), GiB(static_cast<std::int64_t>(plan.limit)),
        smallest ? absl::StrCat("the smallest count of ranks that fits is ",
                                *smallest, " (see --all)")
                 : "no count of ranks up to 65536 fits");
  }

  std::string run_;
  std::vector<std::string> set_;
  std::string machine_;
  std::int64_t ranks_ = 1;
  bool all_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewPlanCommand() {
  return std::make_unique<PlanCommand>();
}

}  // namespace rtpurbo
