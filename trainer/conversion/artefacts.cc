#include "trainer/conversion/artefacts.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/digest.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using google::protobuf::TextFormat;

constexpr std::size_t kShown = 80;  // characters of a value in messages

std::string Shortened(absl::string_view text) {
  return text.size() <= kShown
             ? std::string(text)
             : absl::StrCat(text.substr(0, kShown - 3), "...");
}

// The first line in which two values differ: "steps: 100 -> steps: 50".
std::string Difference(const std::string& name, const std::string& before,
                       const std::string& now) {
  const std::vector<absl::string_view> a = absl::StrSplit(before, '\n');
  const std::vector<absl::string_view> b = absl::StrSplit(now, '\n');
  std::size_t i = 0;
  while (i < a.size() && i < b.size() && a[i] == b[i]) {
    ++i;
  }
  const auto line = [i](const std::vector<absl::string_view>& lines) {
    return i < lines.size() && !lines[i].empty()
               ? Shortened(absl::StripAsciiWhitespace(lines[i]))
               : std::string("nothing");
  };
  return absl::StrCat(name, ": ", line(a), " -> ", line(b));
}

// What differs first; empty if nothing does.
std::string InputChange(const Artefact& artefact, const StageInputs& inputs) {
  std::map<std::string, std::string> before;
  for (const Artefact::Input& input : artefact.inputs()) {
    before[input.name()] = input.value();
  }
  for (const auto& [name, value] : inputs) {
    const auto found = before.find(name);
    if (found == before.end()) {
      return absl::StrCat(name, " is new");
    }
    if (found->second != value) {
      return Difference(name, found->second, value);
    }
    before.erase(found);
  }
  return before.empty() ? "" : absl::StrCat(before.begin()->first, " is gone");
}

void SetInputs(const StageInputs& inputs, Artefact* artefact) {
  for (const auto& [name, value] : inputs) {
    Artefact::Input* input = artefact->add_inputs();
    input->set_name(name);
    input->set_value(value);
  }
}

absl::StatusOr<std::string> DigestOfFile(FileSystem& files,
                                         const std::string& path) {
  constexpr std::int64_t kPiece = std::int64_t{1} << 22;
  ASSIGN_OR_RETURN(const auto file, files.OpenForRead(path));
  Sha256 digest;
  std::vector<std::byte> piece;
  for (std::int64_t at = 0; at < file->size(); at += kPiece) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, file->size() - at)));
    RETURN_IF_ERROR(file->ReadAt(at, piece));
    digest.Update(piece);
  }
  return digest.Finish();
}

}  // namespace

absl::StatusOr<std::string> DigestOf(FileSystem& files,
                                     const std::string& path) {
  ASSIGN_OR_RETURN(const bool is_folder, files.IsDirectory(path));
  if (!is_folder) {
    return DigestOfFile(files, path);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(path));
  std::string all;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string digest,
                     DigestOf(files, JoinPath(path, name)));
    absl::StrAppend(&all, digest, " ", name, "\n");
  }
  return Sha256Hex(all);
}

absl::StatusOr<StagePlan> Artefacts::Plan(const std::string& stage,
                                          const StageInputs& inputs) const {
  using Action = StagePlan::Action;
  const absl::StatusOr<Artefact> artefact = Read(stage);
  if (absl::IsNotFound(artefact.status())) {
    return StagePlan{Action::kMake, ""};
  }
  if (!artefact.ok()) {
    return artefact.status();
  }
  if (const std::string change = InputChange(*artefact, inputs);
      !change.empty()) {
    return StagePlan{Action::kRedo, change};
  }
  if (!artefact->complete()) {
    return StagePlan{Action::kContinue, ""};
  }
  for (const Artefact::Output& output : artefact->outputs()) {
    const std::string path = JoinPath(folder_, output.path());
    ASSIGN_OR_RETURN(const bool exists, files_.Exists(path));
    if (!exists) {
      return StagePlan{Action::kRedo, absl::StrCat(path, " is gone")};
    }
    ASSIGN_OR_RETURN(const std::string digest, DigestOf(files_, path));
    if (digest != output.digest()) {
      return StagePlan{Action::kRedo, absl::StrCat(path, " was changed")};
    }
  }
  return StagePlan{Action::kSkip, ""};
}

absl::Status Artefacts::Begin(const std::string& stage,
                              const StageInputs& inputs) {
  Artefact artefact;
  artefact.set_stage(stage);
  artefact.set_complete(false);
  SetInputs(inputs, &artefact);
  return Write(artefact);
}

absl::Status Artefacts::Finish(const std::string& stage,
                               const StageInputs& inputs,
                               const std::vector<std::string>& outputs,
                               double seconds,
                               const std::map<std::string, double>& numbers) {
  Artefact artefact;
  artefact.set_stage(stage);
  artefact.set_complete(true);
  SetInputs(inputs, &artefact);
  for (const std::string& path : outputs) {
    ASSIGN_OR_RETURN(const std::string digest,
                     DigestOf(files_, JoinPath(folder_, path)));
    Artefact::Output* output = artefact.add_outputs();
    output->set_path(path);
    output->set_digest(digest);
  }
  artefact.set_seconds(seconds);
  for (const auto& [name, value] : numbers) {
    Artefact::Number* number = artefact.add_numbers();
    number->set_name(name);
    number->set_value(value);
  }
  return Write(artefact);
}

absl::StatusOr<Artefact> Artefacts::Complete(const std::string& stage) const {
  absl::StatusOr<Artefact> artefact = Read(stage);
  if (artefact.ok() && artefact->complete()) {
    return artefact;
  }
  if (!artefact.ok() && !absl::IsNotFound(artefact.status())) {
    return artefact.status();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("stage ", stage, " of ", folder_,
                   " is not complete: make it first, or "
                   "all stages with rtpurbo run"));
}

std::string Artefacts::PathOf(const std::string& stage) const {
  return JoinPath(JoinPath(folder_, "artefacts"),
                  absl::StrCat(stage, ".textproto"));
}

absl::StatusOr<Artefact> Artefacts::Read(const std::string& stage) const {
  const std::string path = PathOf(stage);
  ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(path));
  Artefact artefact;
  TextFormat::Parser parser;
  if (!parser.ParseFromString(text, &artefact)) {
    return absl::DataLossError(absl::StrCat(
        path, ": not an artefact; remove it to make the stage again"));
  }
  return artefact;
}

absl::Status Artefacts::Write(const Artefact& artefact) {
  std::string text;
  CHECK(TextFormat::PrintToString(artefact, &text)) << artefact.stage();
  RETURN_IF_ERROR(files_.CreateDirectories(JoinPath(folder_, "artefacts")));
  return files_.WriteFileAtomically(PathOf(artefact.stage()), text);
}

}  // namespace rtpurbo
