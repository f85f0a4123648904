#include "data/manifest.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/digest.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {
namespace {

using google::protobuf::TextFormat;

constexpr char kDigestLine[] = "# sha256: ";
constexpr std::size_t kDigestDigits = 64;

// Keeps the first error of the text format's parser.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) {
      text_ = absl::StrCat("line ", line + 1, ", column ", column + 1, ": ",
                           message);
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      path, ": ", what,
      "; the checkpoint is damaged: use another (`verify` names good ones)"));
}

// The text before the digest's line, if the digest is right.
absl::StatusOr<std::string> CheckedText(const std::string& text,
                                        const std::string& path) {
  const std::size_t line_size = sizeof(kDigestLine) - 1 + kDigestDigits + 1;
  if (text.size() < line_size) {
    return Damaged(path, "too short for a manifest");
  }
  std::string body = text.substr(0, text.size() - line_size);
  if (text.substr(body.size()) !=
      absl::StrCat(kDigestLine, Sha256Hex(body), "\n")) {
    return Damaged(path, "its bytes and its digest differ");
  }
  return body;
}

Shape ShapeOf(const CheckpointPart& part) {
  return {part.shape().begin(), part.shape().end()};
}

// Bytes of an element; 0 if there is no such type.
std::int64_t SizeOfType(absl::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI32}) {
    if (name == Name(dtype)) {
      return SizeOf(dtype);
    }
  }
  return 0;
}

absl::Status CheckFile(const CheckpointFile& file, std::int64_t block_bytes,
                       const std::string& path) {
  if (file.size() < 0 || block_bytes <= 0 ||
      file.crc32c_size() != NumBlocks(file.size(), block_bytes)) {
    return Damaged(
        path, absl::StrCat(file.name(), " has ", file.size(), " bytes and ",
                           file.crc32c_size(), " check sums"));
  }
  // A name that leads out of the folder was not written by us.
  if (file.name().empty() || absl::StrContains(file.name(), "/")) {
    return Damaged(path, absl::StrCat("'", file.name(), "' is no file name"));
  }
  for (const CheckpointPart& part : file.parts()) {
    // Where it would end in the file, if it fits there.
    std::int64_t end = 0;
    if (SizeOfType(part.dtype()) == 0 || part.begin() < 0 ||
        part.begin() > part.end() || part.offset() < 0 ||
        __builtin_mul_overflow(part.end() - part.begin(),
                               SizeOfType(part.dtype()), &end) ||
        __builtin_add_overflow(end, part.offset(), &end) || end > file.size()) {
      return Damaged(path, absl::StrCat("tensor '", part.name(),
                                        "' has no place in ", file.name()));
    }
  }
  return absl::OkStatus();
}

// That `parts`, at least one, hold each element of the tensor `name` once.
absl::Status CheckPartsOfOne(absl::string_view name,
                             std::vector<const CheckpointPart*> parts) {
  std::sort(parts.begin(), parts.end(),
            [](const CheckpointPart* a, const CheckpointPart* b) {
              return a->begin() != b->begin() ? a->begin() < b->begin()
                                              : a->end() < b->end();
            });
  const auto bad = [name](absl::string_view what) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tensor '", name, "' ", what,
        "; the ranks' parts must hold every element exactly once"));
  };
  const CheckpointPart& first = *parts.front();
  std::int64_t covered = 0;
  for (const CheckpointPart* part : parts) {
    if (part->dtype() != first.dtype() || ShapeOf(*part) != ShapeOf(first)) {
      return bad("has parts of different types or shapes");
    }
    if (part->begin() != covered || part->end() < part->begin()) {
      return bad(absl::StrCat(
          part->begin() < covered ? "has elements twice" : "lacks elements",
          " near ", std::min(part->begin(), covered)));
    }
    covered = part->end();
  }
  const std::int64_t size = NumElements(ShapeOf(first));
  if (covered != size) {
    return bad(
        absl::StrCat("has ", size, " elements, but parts up to ", covered));
  }
  return absl::OkStatus();
}

}  // namespace

std::string FormatManifest(const Manifest& manifest) {
  TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  std::string text;
  CHECK(printer.PrintToString(manifest, &text)) << "out of memory";
  return absl::StrCat(text, kDigestLine, Sha256Hex(text), "\n");
}

absl::StatusOr<Manifest> ReadManifest(FileSystem& files,
                                      const std::string& dir) {
  const std::string path = JoinPath(dir, kManifestName);
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  ASSIGN_OR_RETURN(const std::string body, CheckedText(text, path));
  TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  // A later version may say more; which one it is must be readable even so.
  parser.AllowUnknownField(true);
  Manifest manifest;
  if (!parser.ParseFromString(body, &manifest)) {
    return Damaged(path, error.text());
  }
  if (manifest.version() != kManifestVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": is of version ", manifest.version(), ", but this program ",
        "reads version ", kManifestVersion,
        "; use the program that wrote it, or start the stage again"));
  }
  for (const CheckpointFile& file : manifest.files()) {
    RETURN_IF_ERROR(CheckFile(file, manifest.block_bytes(), path));
  }
  if (absl::Status status = CheckPartsCover(manifest); !status.ok()) {
    return Damaged(path, std::string(status.message()));
  }
  return manifest;
}

absl::Status CheckPartsCover(const Manifest& manifest) {
  std::map<std::string, std::vector<const CheckpointPart*>> tensors;
  for (const CheckpointFile& file : manifest.files()) {
    for (const CheckpointPart& part : file.parts()) {
      tensors[part.name()].push_back(&part);
    }
  }
  for (auto& [name, parts] : tensors) {
    RETURN_IF_ERROR(CheckPartsOfOne(name, std::move(parts)));
  }
  return absl::OkStatus();
}

absl::Status ForEachBlock(
    const std::function<absl::Status(std::int64_t offset,
                                     std::span<std::byte> out)>& read_at,
    std::int64_t num_bytes, std::int64_t block_bytes,
    const std::function<bool(std::int64_t index)>& wanted,
    const std::function<absl::Status(std::int64_t index, std::int64_t begin,
                                     Bytes bytes)>& use) {
  std::vector<std::byte> block(
      static_cast<std::size_t>(std::min(num_bytes, block_bytes)));
  for (std::int64_t i = 0; i < NumBlocks(num_bytes, block_bytes); ++i) {
    if (!wanted(i)) {
      continue;
    }
    const std::int64_t begin = i * block_bytes;
    const std::span<std::byte> bytes = std::span(block).first(
        static_cast<std::size_t>(std::min(block_bytes, num_bytes - begin)));
    RETURN_IF_ERROR(read_at(begin, bytes));
    RETURN_IF_ERROR(use(i, begin, bytes));
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
