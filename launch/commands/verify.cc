// rtpurbo verify DIR: is everything in a run's folder what was written?

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/checkpoint.h"
#include "data/file_system.h"
#include "data/label_cache.h"
#include "data/safetensors.h"
#include "data/strict_json.h"
#include "data/token_store.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"
#include "model/head_map.h"

namespace rtpurbo {
namespace {

constexpr char kManifest[] = "manifest.textproto";

FileSystem& Files() {
  return RealFileSystem();
}

absl::Status VerifyTokens(const std::string& path) {
  ASSIGN_OR_RETURN(const auto store, TokenStore::Open(Files(), path));
  return store->Verify();
}

absl::Status VerifyWeights(const std::string& path) {
  return SafetensorsFolder::OpenFile(Files(), path).status();
}

absl::Status VerifyHeadMap(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Files().ReadFile(path));
  return HeadMapFromText(text, path).status();
}

absl::Status VerifyJson(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Files().ReadFile(path));
  return ParseStrictJson(text, path).status();
}

absl::Status VerifyJsonLines(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Files().ReadFile(path));
  std::int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (!line.empty()) {
      RETURN_IF_ERROR(
          ParseStrictJson(line, absl::StrCat(path, ":", number)).status());
    }
  }
  return absl::OkStatus();
}

// How a file is checked, by its name; null if there is nothing to check.
using Check = absl::Status (*)(const std::string& path);
struct CheckOf {
  Check check = nullptr;
  const char* what = "";  // is known then
};
CheckOf FindCheck(const std::string& name) {
  if (name == "tokens.h5") {
    return {VerifyTokens, "digest of all tokens"};
  }
  if (name == "labels.h5") {
    return {[](const std::string& path) {
              return LabelCache::Verify(Files(), path);
            },
            "check sum of every record"};
  }
  if (absl::EndsWith(name, ".safetensors")) {
    return {VerifyWeights, "header and sizes; the format has no check sum"};
  }
  if (absl::StartsWith(name, "heads") && absl::EndsWith(name, ".textproto")) {
    return {VerifyHeadMap, "can be read"};
  }
  if (absl::EndsWith(name, ".jsonl")) {
    return {VerifyJsonLines, "can be read"};
  }
  if (absl::EndsWith(name, ".json")) {
    return {VerifyJson, "can be read"};
  }
  return {};
}

// The world is at fault, not the file.
bool IsOfTheMachine(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnavailable(status) ||
         absl::IsResourceExhausted(status);
}

bool IsUnfinished(const std::string& name) {
  return absl::EndsWith(name, ".tmp") || absl::EndsWith(name, ".old") ||
         absl::EndsWith(name, ".part");
}

class VerifyCommand : public Command {
 public:
  absl::string_view name() const override { return "verify"; }
  absl::string_view summary() const override {
    return "checks that no file of a run is damaged";
  }
  absl::string_view arguments() const override { return "DIR"; }
  absl::string_view description() const override {
    return "DIR is the folder of a run, one of its folders, or one checkpoint. "
           "Reads everything: checkpoints against the check sums of their "
           "manifest, the token store against its digest, the labels against "
           "theirs; of published weights, which have none, the header and the "
           "sizes; head maps, JSON and JSON Lines for whether they can be "
           "read. Prints a line for each. The exit code is 4 if anything is "
           "damaged.";
  }
  absl::Status Run(const std::vector<std::string>& arguments) override {
    const std::string& folder = arguments[0];
    ASSIGN_OR_RETURN(const bool is_folder, Files().IsDirectory(folder));
    if (!is_folder) {
      return absl::FailedPreconditionError(absl::StrCat(
          folder, " is a file: name the folder of a run or a checkpoint"));
    }
    RETURN_IF_ERROR(Walk(folder));
    if (num_damaged_ > 0) {
      return absl::DataLossError(absl::StrCat(num_damaged_, " of ",
                                              num_checked_, " checked in ",
                                              folder, " are damaged"));
    }
    if (num_checked_ == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          folder,
          " holds nothing that can be checked: name the folder of a "
          "run or a checkpoint"));
    }
    return absl::OkStatus();
  }

 private:
  // Depth first, names sorted. A checkpoint is checked as a whole.
  absl::Status Walk(const std::string& folder) {
    ASSIGN_OR_RETURN(const bool is_checkpoint,
                     Files().Exists(JoinPath(folder, kManifest)));
    if (is_checkpoint) {
      return Report(folder, VerifyCheckpoint(Files(), folder),
                    "check sum of every block");
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     Files().List(folder));
    for (const std::string& name : names) {
      const std::string path = JoinPath(folder, name);
      if (IsUnfinished(name)) {
        std::cout << "left     " << path
                  << ": by an interrupted writer; not checked\n";
        continue;
      }
      ASSIGN_OR_RETURN(const bool is_folder, Files().IsDirectory(path));
      if (is_folder) {
        RETURN_IF_ERROR(Walk(path));
      } else if (const CheckOf found = FindCheck(name);
                 found.check != nullptr) {
        RETURN_IF_ERROR(Report(path, found.check(path), found.what));
      }
    }
    return absl::OkStatus();
  }

  // An error only if the check could not be made.
  absl::Status Report(const std::string& path, const absl::Status& status,
                      const char* what) {
    if (IsOfTheMachine(status)) {
      return status;
    }
    ++num_checked_;
    if (status.ok()) {
      std::cout << "ok       " << path << " (" << what << ")\n";
    } else {
      ++num_damaged_;
      std::cout << "damaged  " << path << ": " << status.message() << "\n";
    }
    return absl::OkStatus();
  }

  std::int64_t num_checked_ = 0;
  std::int64_t num_damaged_ = 0;
};

}  // namespace

std::unique_ptr<Command> NewVerifyCommand() {
  return std::make_unique<VerifyCommand>();
}

}  // namespace rtpurbo
