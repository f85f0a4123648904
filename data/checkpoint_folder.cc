#include "data/checkpoint_folder.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "data/checkpoint_layout.h"
#include "data/manifest.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace internal {
namespace {

std::string TemporarySuffix(std::int64_t incarnation) {
  return incarnation == 0 ? kTemporarySuffix
                          : absl::StrCat(".", incarnation, kTemporarySuffix);
}

}  // namespace

std::string CommittedDir(const std::string& root, std::int64_t step) {
  return JoinPath(root, CheckpointName(step));
}

std::string TemporaryDir(const std::string& root, std::int64_t step,
                         std::int64_t incarnation) {
  return CommittedDir(root, step) + TemporarySuffix(incarnation);
}

std::string ReplacedDir(const std::string& root, std::int64_t step) {
  return CommittedDir(root, step) + kReplacedSuffix;
}

std::int64_t StepOf(absl::string_view name, absl::string_view suffix) {
  std::int64_t step = -1;
  absl::string_view digits = name;
  // The name must be the one that we would give: no sign, no spaces.
  if (absl::ConsumePrefix(&digits, "step_") &&
      absl::ConsumeSuffix(&digits, suffix) && absl::SimpleAtoi(digits, &step) &&
      step >= 0 && name == absl::StrCat(CheckpointName(step), suffix)) {
    return step;
  }
  return -1;
}

std::int64_t StepOfTemporary(absl::string_view name) {
  std::int64_t incarnation = 0;
  absl::string_view digits = name;
  if (!absl::ConsumeSuffix(&digits, kTemporarySuffix)) {
    return -1;
  }
  const std::size_t dot = digits.rfind('.');
  if (dot != absl::string_view::npos &&
      (!absl::SimpleAtoi(digits.substr(dot + 1), &incarnation) ||
       incarnation < 1)) {
    return -1;
  }
  return StepOf(name, TemporarySuffix(incarnation));
}

}  // namespace internal

namespace {

using internal::kReplacedSuffix;
using internal::StepOf;
using internal::StepOfTemporary;

constexpr char kBestName[] = "best";

// Names in the folder; nothing if it is not there.
absl::StatusOr<std::vector<std::string>> NamesIn(FileSystem& files,
                                                 const std::string& root) {
  absl::StatusOr<std::vector<std::string>> names = files.List(root);
  if (absl::IsNotFound(names.status())) {
    return std::vector<std::string>();
  }
  return names;
}

// A folder that is removed in part must not look like a checkpoint, so the
// manifest goes first.
absl::Status RemoveCheckpoint(FileSystem& files, const std::string& dir) {
  absl::Status status = files.Remove(JoinPath(dir, kManifestName));
  if (!status.ok() && !absl::IsNotFound(status)) {
    return status;
  }
  return files.RemoveTree(dir);
}

bool SaysDamaged(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status) ||
         absl::IsFailedPrecondition(status);
}

}  // namespace

std::string CheckpointName(std::int64_t step) {
  return absl::StrFormat("step_%08d", step);
}

absl::StatusOr<std::vector<CheckpointRef>> ListCheckpoints(
    FileSystem& files, const std::string& root) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(files, root));
  std::map<std::int64_t, std::string> dirs;
  for (const std::string& name : names) {
    // ".old" counts if the commit that moved it aside got no further; sorted,
    // it comes after the folder that replaced it.
    std::int64_t step = StepOf(name, "");
    if (step < 0) {
      step = StepOf(name, kReplacedSuffix);
    }
    const std::string dir = JoinPath(root, name);
    if (step < 0 || dirs.contains(step)) {
      continue;
    }
    ASSIGN_OR_RETURN(const bool committed,
                     files.Exists(JoinPath(dir, kManifestName)));
    if (committed) {
      dirs[step] = dir;
    }
  }
  std::vector<CheckpointRef> refs;
  for (auto at = dirs.rbegin(); at != dirs.rend(); ++at) {
    refs.push_back({at->first, at->second});
  }
  return refs;
}

absl::StatusOr<CheckpointRef> NewestIntactCheckpoint(
    FileSystem& files, const std::string& root,
    std::vector<std::string>* skipped) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointRef> refs,
                   ListCheckpoints(files, root));
  std::vector<std::string> problems;
  for (const CheckpointRef& ref : refs) {
    absl::Status status = VerifyCheckpoint(files, ref.dir);
    if (!status.ok() && !SaysDamaged(status)) {
      return status;
    }
    if (status.ok()) {
      if (skipped != nullptr) {
        *skipped = std::move(problems);
      }
      return ref;
    }
    problems.emplace_back(status.message());
  }
  return absl::NotFoundError(absl::StrCat(root, " has no intact checkpoint",
                                          problems.empty() ? "" : ": ",
                                          absl::StrJoin(problems, "; ")));
}

absl::Status SetBestCheckpoint(FileSystem& files, const std::string& root,
                               std::int64_t step) {
  const std::string name = CheckpointName(step);
  ASSIGN_OR_RETURN(const bool committed,
                   files.Exists(JoinPath(JoinPath(root, name), kManifestName)));
  if (!committed) {
    return absl::NotFoundError(absl::StrCat(
        "cannot name ", name, " the best: ", root, " has no such checkpoint"));
  }
  return files.WriteFileAtomically(JoinPath(root, kBestName), name + "\n");
}

absl::StatusOr<CheckpointRef> BestCheckpoint(FileSystem& files,
                                             const std::string& root) {
  const std::string path = JoinPath(root, kBestName);
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  const std::int64_t step = StepOf(absl::StripSuffix(text, "\n"), "");
  if (step < 0) {
    return absl::DataLossError(
        absl::StrCat(path, ": does not hold the name of a checkpoint"));
  }
  ASSIGN_OR_RETURN(const std::vector<CheckpointRef> refs,
                   ListCheckpoints(files, root));
  for (const CheckpointRef& ref : refs) {
    if (ref.step == step) {
      return ref;
    }
  }
  return absl::NotFoundError(absl::StrCat(
      path, ": names ", CheckpointName(step), ", which is not there any more"));
}

absl::Status RemoveOldCheckpoints(
    FileSystem& files, const std::string& root, std::int64_t keep,
    const std::function<bool(std::int64_t step)>& counts) {
  CHECK_LE(1, keep);
  ASSIGN_OR_RETURN(const std::vector<CheckpointRef> refs,
                   ListCheckpoints(files, root));
  const absl::StatusOr<CheckpointRef> best = BestCheckpoint(files, root);
  if (!best.ok() && !absl::IsNotFound(best.status())) {
    return best.status();
  }
  std::set<std::string> kept;
  std::int64_t num_counted = 0;
  for (const CheckpointRef& ref : refs) {
    const bool does_count = counts == nullptr || counts(ref.step);
    if (kept.empty() || (does_count && num_counted < keep)) {
      kept.insert(ref.dir);
    }
    num_counted += does_count ? 1 : 0;
  }
  if (best.ok()) {
    kept.insert(best->dir);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(files, root));
  for (const std::string& name : names) {
    const std::int64_t step = std::max({StepOf(name, ""), StepOfTemporary(name),
                                        StepOf(name, kReplacedSuffix)});
    const std::string dir = JoinPath(root, name);
    if (step >= 0 && !kept.contains(dir)) {
      RETURN_IF_ERROR(RemoveCheckpoint(files, dir));
    }
  }
  return absl::OkStatus();
}

absl::Status RemoveCheckpointsAfter(FileSystem& files, const std::string& root,
                                    std::int64_t step) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(files, root));
  for (const std::string& name : names) {
    const std::int64_t its =
        std::max(StepOf(name, ""), StepOf(name, kReplacedSuffix));
    if (its > step) {
      RETURN_IF_ERROR(RemoveCheckpoint(files, JoinPath(root, name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
