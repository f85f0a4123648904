// rtpurbo run, and one command for each of its stages.

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "launch/run_flags.h"
#include "launch/run_session.h"

namespace rtpurbo {
namespace {

struct About {
  const char* name;
  const char* summary;
  const char* description;
};

// A command that opens a run and makes something of it.
class ConversionCommand : public Command {
 public:
  explicit ConversionCommand(const About& about) : about_(about) {}

  absl::string_view name() const override { return about_.name; }
  absl::string_view summary() const override { return about_.summary; }
  absl::string_view description() const override { return about_.description; }
  void AddFlags(FlagSet* flags) override { flags_.AddTo(flags); }

  absl::Status Run(const std::vector<std::string>& /*arguments*/) override {
    return InRunSession(flags_, [this](RunSession& session) -> absl::Status {
      const std::string stage = about_.name;
      RETURN_IF_ERROR(stage == "run" ? session.conversion().MakeAll()
                                     : session.conversion().Make(stage));
      if (session.is_first()) {
        std::cout << "report: " << JoinPath(flags_.out, "report.html") << "\n";
      }
      return absl::OkStatus();
    });
  }

 private:
  About about_;
  RunFlags flags_;
};

constexpr About kRun = {
    "run", "converts a model: every stage, from text to report",
    "Makes all stages of the conversion into the folder --out: prepare, "
    "calibrate, labels, align, distill, export, evaluate. What is complete and "
    "unchanged is skipped, what was interrupted continues, what no longer fits "
    "is made again; the log says which, and why. Started again after a crash, "
    "it ends with the files of a run that was never interrupted."};
constexpr About kPrepare = {
    "prepare", "reads text into a token store",
    "Encodes data.paths with the model's tokenizer into prepare/tokens.h5, and "
    "sets a part of it aside that is never trained on."};
constexpr About kCalibrate = {
    "calibrate", "finds the heads that retrieve",
    "Scores every query head by needle and by effect "
    "(calibrate/heads.*.textproto) and writes the head map that is used, "
    "heads.textproto. No weight moves."};
constexpr About kAlign = {
    "align", "stage 1: trains the indexers of retrieval heads",
    "Trains the low-width query and key projections of retrieval heads so that "
    "projected rows follow exact attention rows; the model is frozen. Writes "
    "align/projections.safetensors."};
constexpr About kDistill = {
    "distill", "stage 2: trains the sparse model on the dense one's answers",
    "Keeps the teacher's ten highest logits at label rows "
    "(prepare/labels.h5), then trains the sparse model on them. Writes "
    "distill/step_*, and which of these is the best."};
constexpr About kExport = {
    "export", "writes the converted model as a Hugging Face folder",
    "Writes export/: the weights of the best checkpoint in the teacher's type, "
    "config.json with headwise_config, the tokenizer, and "
    "projections.safetensors."};

}  // namespace

std::unique_ptr<Command> NewRunCommand() {
  return std::make_unique<ConversionCommand>(kRun);
}
std::unique_ptr<Command> NewPrepareCommand() {
  return std::make_unique<ConversionCommand>(kPrepare);
}
std::unique_ptr<Command> NewCalibrateCommand() {
  return std::make_unique<ConversionCommand>(kCalibrate);
}
std::unique_ptr<Command> NewAlignCommand() {
  return std::make_unique<ConversionCommand>(kAlign);
}
std::unique_ptr<Command> NewDistillCommand() {
  return std::make_unique<ConversionCommand>(kDistill);
}
std::unique_ptr<Command> NewExportCommand() {
  return std::make_unique<ConversionCommand>(kExport);
}

}  // namespace rtpurbo
