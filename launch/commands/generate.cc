// rtpurbo generate: continues prompts with a model, as it is converted.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/file_system.h"
#include "data/strict_json.h"
#include "data/tokenizer.h"
#include "dist/solo_communicator.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "model/generator.h"
#include "nlohmann/json.hpp"
#include "trainer/exporter.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

struct Prompt {
  std::string text;
  std::string where;  // for messages
};

struct Prompts {
  std::vector<Prompt> all;
  bool is_json = false;
};

absl::StatusOr<std::string> ReadPrompts(const std::string& path) {
  if (path != "-") {
    return RealFileSystem().ReadFile(path);
  }
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  if (std::cin.bad()) {
    return absl::UnavailableError("cannot read standard input");
  }
  return text;
}

absl::StatusOr<std::string> PromptOfLine(absl::string_view line,
                                         const std::string& where) {
  const absl::StatusOr<nlohmann::json> object = ParseStrictJson(line, where);
  if (!object.ok()) {
    return absl::FailedPreconditionError(object.status().message());
  }
  if (!object->is_object() || !object->contains("prompt") ||
      !(*object)["prompt"].is_string()) {
    return absl::FailedPreconditionError(absl::StrCat(
        where, ": every line must be an object with a string \"prompt\""));
  }
  return (*object)["prompt"].get<std::string>();
}

// Lines of objects if the name or the first line says so, else one text.
absl::StatusOr<Prompts> SplitPrompts(const std::string& text,
                                     const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  Prompts prompts;
  prompts.is_json =
      absl::EndsWith(path, ".jsonl") || PromptOfLine(lines[0], name).ok();
  if (!prompts.is_json) {
    const bool ends_line = absl::EndsWith(text, "\n");
    prompts.all = {{text.substr(0, text.size() - (ends_line ? 1 : 0)), name}};
    return prompts;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (absl::StripAsciiWhitespace(lines[i]).empty()) {
      continue;
    }
    const std::string where = absl::StrCat(name, ":", i + 1);
    ASSIGN_OR_RETURN(std::string prompt, PromptOfLine(lines[i], where));
    prompts.all.push_back({std::move(prompt), where});
  }
  if (prompts.all.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " holds no prompt: no line with an object"));
  }
  return prompts;
}

class GenerateCommand : public Command {
 public:
  absl::string_view name() const override { return "generate"; }
  absl::string_view summary() const override {
    return "continues prompts with a model";
  }
  absl::string_view description() const override {
    return "Writes the continuation of a text to standard output, a token as "
           "soon as it is known, up to the model's end token.\n"
           "The text is a whole file, without the end of its last line. A "
           "file whose name ends in .jsonl, or whose first line is an object "
           "with \"prompt\", has a prompt a line; each is answered by a line "
           "{\"prompt\", \"output\", \"tokens\", \"ended\"}, where tokens "
           "counts those of the output, and ended says whether the end token "
           "came.";
  }
  void AddFlags(FlagSet* flags) override {
    flags->Add("model", "DIR",
               "Folder of the model: config.json, tokenizer.json and weights "
               "in safetensors. One that was exported by a conversion runs "
               "sparsely, any other with full attention.",
               &model_);
    flags->Add("prompts", "FILE", "What to continue; - is standard input.",
               &prompts_);
    flags->Add("tokens", "N", "Most tokens of a continuation. Default: 256.",
               &options_.max_tokens);
    flags->Add("temperature", "T",
               "0 takes the most probable token each time; above, tokens are "
               "drawn from softmax(logits / T). Default: 0.",
               &options_.sampling.temperature);
    flags->Add("top_p", "P",
               "Draws from the fewest tokens that hold this share of the "
               "probability. Default: 1.",
               &options_.sampling.top_p);
    flags->Add("seed", "N", "Of the draws: the same seed, the same text.",
               &seed_);
  }
  absl::Status Run(const std::vector<std::string>& /*arguments*/) override {
    RETURN_IF_ERROR(CheckFlags());
    ASSIGN_OR_RETURN(const std::string text, ReadPrompts(prompts_));
    ASSIGN_OR_RETURN(const Prompts prompts, SplitPrompts(text, prompts_));
    ASSIGN_OR_RETURN(const ModelConfig config,
                     ReadModelConfig(RealFileSystem(), model_));
    ASSIGN_OR_RETURN(const Tokenizer tokenizer,
                     Tokenizer::Load(JoinPath(model_, "tokenizer.json")));
    std::vector<std::vector<std::int32_t>> encoded;
    std::int64_t positions = 0;
    for (const Prompt& prompt : prompts.all) {
      encoded.push_back(tokenizer.Encode(prompt.text));
      const auto tokens = static_cast<std::int64_t>(encoded.back().size());
      RETURN_IF_ERROR(CheckLength(config, prompt, tokens));
      positions = std::max(positions, tokens + options_.max_tokens);
    }
    ASSIGN_OR_RETURN(const auto device, Device::Open(DeviceType::kCpu));
    SoloCommunicator alone;
    Transformer::Options how;
    how.max_positions = positions;
    how.comm = &alone;
    ASSIGN_OR_RETURN(
        const ConvertedModel model,
        LoadConverted(device->ctx(), RealFileSystem(), model_, how));
    options_.end_tokens = config.end_tokens;
    for (std::size_t i = 0; i < encoded.size(); ++i) {
      RETURN_IF_ERROR(Continue(model, tokenizer, prompts.all[i], encoded[i],
                               prompts.is_json));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckFlags() {
    if (model_.empty() || prompts_.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          model_.empty() ? "--model" : "--prompts", " is missing: name the ",
          model_.empty() ? "folder of a model"
                         : "file to continue, or - for standard "
                           "input"));
    }
    const auto range = [](const char* flag, const auto& value,
                          const char* needed) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag, " is ", value, ", but must be ", needed));
    };
    if (options_.max_tokens < 1) {
      return range("tokens", options_.max_tokens, "at least 1");
    }
    const Sampling& sampling = options_.sampling;
    if (!(sampling.temperature >= 0) || std::isinf(sampling.temperature)) {
      return range("temperature", sampling.temperature, "0 or more");
    }
    if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
      return range("top_p", sampling.top_p, "above 0, and at most 1");
    }
    options_.sampling.seed = static_cast<std::uint64_t>(seed_);
    return absl::OkStatus();
  }

  absl::Status CheckLength(const ModelConfig& config, const Prompt& prompt,
                           std::int64_t tokens) const {
    if (tokens == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(prompt.where, ": the prompt is empty"));
    }
    if (tokens + options_.max_tokens > config.max_positions) {
      return absl::FailedPreconditionError(absl::StrCat(
          prompt.where, ": the prompt has ", tokens, " tokens; with ",
          options_.max_tokens, " more they are beyond the ",
          config.max_positions, " positions of ", model_,
          ". Shorten it, or lower --tokens"));
    }
    return absl::OkStatus();
  }

  absl::Status Continue(const ConvertedModel& model, const Tokenizer& tokenizer,
                        const Prompt& prompt,
                        const std::vector<std::int32_t>& prompt_T,
                        bool is_json) const {
    StreamDecoder decoder(tokenizer, SpecialTokens::kSkip);
    std::string output;
    const auto add = [&](const std::string& text) {
      output += text;
      if (!is_json) {
        std::cout << text << std::flush;
      }
    };
    const auto& ends = options_.end_tokens;
    const auto on_token = [&](std::int32_t token) {
      if (std::find(ends.begin(), ends.end(), token) == ends.end()) {
        add(decoder.Append(token));
      }
    };
    const absl::StatusOr<Generated> generated =
        Generate(*model.model, model.mode, prompt_T, options_, on_token);
    if (!generated.ok()) {
      return absl::Status(
          generated.status().code(),
          absl::StrCat(prompt.where, ": ", generated.status().message()));
    }
    add(decoder.Finish());
    if (is_json) {
      nlohmann::ordered_json line;
      line["prompt"] = prompt.text;
      line["output"] = output;
      line["tokens"] = generated->token_T.size() - (generated->ended ? 1U : 0U);
      line["ended"] = generated->ended;
      std::cout << line.dump();
    }
    std::cout << std::endl;
    return absl::OkStatus();
  }

  std::string model_;
  std::string prompts_;
  std::int64_t seed_ = 0;
  GenerateOptions options_{.max_tokens = 256, .sampling = {}, .end_tokens = {}};
};

}  // namespace

std::unique_ptr<Command> NewGenerateCommand() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace rtpurbo
