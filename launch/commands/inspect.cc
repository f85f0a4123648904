// rtpurbo inspect PATH: what a file or folder is, and whether it can be used.

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "configs/load.h"
#include "data/file_system.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "launch/commands/describe.h"
#include "launch/commands/load_weights.h"
#include "model/model_config.h"

namespace rtpurbo {
namespace {

// Enough for every model that can be read; a weight file named by mistake is
// not read whole.
constexpr std::int64_t kMaxTextBytes = std::int64_t{64} << 20;

absl::StatusOr<std::string> ReadText(const std::string& path) {
  ASSIGN_OR_RETURN(const std::int64_t size, RealFileSystem().Size(path));
  if (size > kMaxTextBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has ", size,
                     " bytes: neither a configuration nor a config.json"));
  }
  return RealFileSystem().ReadFile(path);
}

absl::Status ShowModel(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json, ReadText(path));
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfig::Parse(json, path));
  std::cout << "model: " << config.model_type << ", " << config.dtype
            << "\nvocabulary: " << config.vocab_size
            << (config.tied_head ? " (head tied to the embedding)" : "")
            << "\nwidth: " << config.hidden_size
            << "\nlayers: " << config.num_layers
            << "\nheads: " << config.num_heads << " query, "
            << config.num_kv_heads << " key/value, width " << config.head_width
            << "\n";
  const auto num_moe =
      std::count(config.is_moe_layer.begin(), config.is_moe_layer.end(), true);
  if (num_moe > 0) {
    std::cout << "experts: " << config.num_experts << ", "
              << config.experts_per_token << " a token, width "
              << config.expert_size << ", in " << num_moe << " layers\n";
  }
  if (num_moe < config.num_layers) {
    std::cout << "dense layers: " << config.num_layers - num_moe << ", width "
              << config.mlp_size << "\n";
  }
  std::cout << "positions: " << config.max_positions << ", RoPE base "
            << config.rope_base << "\n";
  return absl::OkStatus();
}

class InspectCommand : public Command {
 public:
  absl::string_view name() const override { return "inspect"; }
  absl::string_view summary() const override {
    return "says what a file or folder is, and whether it can be used";
  }
  absl::string_view arguments() const override { return "PATH"; }
  absl::string_view description() const override {
    return "PATH is one of\n"
           "- a run's configuration, or the folder of a run: printed with "
           "every "
           "default, after --set, if it holds; if not, all that is wrong;\n"
           "- a model's folder or its config.json: its sizes, if it can be "
           "converted; if not, what is not supported;\n"
           "- a head map, heads*.textproto: which heads retrieve;\n"
           "- a file of weights, *.safetensors: its tensors.\n"
           "With --load, PATH is a model's folder whose weights are loaded, "
           "frozen, as a run of these ranks would (start it by mpirun): says "
           "what each rank holds, and what it took. --pretend-rank=R/N does it "
           "for one rank of N without the others.";
  }
  void AddFlags(FlagSet* flags) override {
    flags->Add("set", "PATH=VALUE",
               "Replaces a field of the configuration, as in "
               "--set align.steps=100.",
               &edits_);
    flags->Add("load", "Loads the weights of a model.", &load_);
    flags->Add("pretend-rank", "R/N", "With --load: as rank R of N.",
               &pretended_);
  }
  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (load_) {
      return LoadWeights(arguments[0], pretended_);
    }
    if (!pretended_.empty()) {
      return absl::InvalidArgumentError("--pretend-rank needs --load");
    }
    ASSIGN_OR_RETURN(const std::string path, FindFile(arguments[0]));
    const std::string name = BaseName(path);
    const bool is_map =
        absl::StartsWith(name, "heads") && absl::EndsWith(name, ".textproto");
    const bool is_weights = absl::EndsWith(name, ".safetensors");
    if (name != "config.json" && !is_map && !is_weights) {
      return ShowRun(path);
    }
    if (!edits_.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set is for a run's configuration; ", path, " is none"));
    }
    if (name == "config.json") {
      return ShowModel(path);
    }
    ASSIGN_OR_RETURN(const std::string text,
                     is_map ? DescribeHeadMap(path) : DescribeWeights(path));
    std::cout << text;
    return absl::OkStatus();
  }

 private:
  // Of a folder, the file in it that says what it is.
  static absl::StatusOr<std::string> FindFile(const std::string& path) {
    ASSIGN_OR_RETURN(const bool is_folder, RealFileSystem().IsDirectory(path));
    if (!is_folder) {
      return path;
    }
    for (const char* name : {"config.json", "run.textproto"}) {
      const std::string file = JoinPath(path, name);
      ASSIGN_OR_RETURN(const bool exists, RealFileSystem().Exists(file));
      if (exists) {
        return file;
      }
    }
    return absl::FailedPreconditionError(
        absl::StrCat("the folder ", path,
                     " has neither config.json (a model) nor run.textproto (a "
                     "run)"));
  }
  absl::Status ShowRun(const std::string& path) const {
    RETURN_IF_ERROR(ReadText(path).status());
    ASSIGN_OR_RETURN(const configs::Run run, LoadRun(path, edits_, 1));
    std::cout << ResolvedText(run);
    return absl::OkStatus();
  }

  std::vector<std::string> edits_;
  bool load_ = false;
  std::string pretended_;
};

}  // namespace

std::unique_ptr<Command> NewInspectCommand() {
  return std::make_unique<InspectCommand>();
}

}  // namespace rtpurbo
