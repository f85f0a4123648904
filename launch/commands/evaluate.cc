// rtpurbo evaluate: the questions of a run, or somebody else's.

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "launch/run_flags.h"
#include "launch/run_session.h"
#include "trainer/conversion/ask_foreign.h"

namespace rtpurbo {
namespace {

class EvaluateCommand : public Command {
 public:
  absl::string_view name() const override { return "evaluate"; }
  absl::string_view summary() const override {
    return "answers the same questions with every model, dense and sparse";
  }
  absl::string_view description() const override {
    return "Asks each model of the run needle questions over held-out text, "
           "and compares it with the dense one token by token. Writes "
           "evaluation.jsonl and prints the table.\n"
           "With --questions: asks the teacher and, where there is an export, "
           "the converted model these instead, and writes their answers to "
           "questions/ in the run's folder.";
  }
  void AddFlags(FlagSet* flags) override {
    flags_.AddTo(flags);
    flags->Add("questions", "FILE",
               "JSON Lines of {\"id\", \"kind\", \"prompt\", \"answers\"}.",
               &questions_);
  }

  absl::Status Run(const std::vector<std::string>& /*arguments*/) override {
    return InRunSession(flags_, [this](RunSession& session) {
      Conversion& conversion = session.conversion();
      return questions_.empty() ? conversion.Make("evaluate")
                                : Ask(conversion.run());
    });
  }

 private:
  absl::Status Ask(RunContext& run) {
    ASSIGN_OR_RETURN(const std::string table,
                     AskForeignQuestions(run, questions_));
    if (run.ranks().rank() == 0) {
      std::cout << table;
    }
    return absl::OkStatus();
  }

  RunFlags flags_;
  std::string questions_;
};

}  // namespace

std::unique_ptr<Command> NewEvaluateCommand() {
  return std::make_unique<EvaluateCommand>();
}

}  // namespace rtpurbo
