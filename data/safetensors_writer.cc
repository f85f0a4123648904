#include "data/safetensors_writer.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/float16.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

constexpr char kExtension[] = ".safetensors";
constexpr char kTemporary[] = ".tmp";

std::int64_t ElementBytes(absl::string_view dtype) {
  return SafetensorsBits(dtype) / 8;
}

std::int64_t BytesOf(const SafetensorsSpec& tensor) {
  return NumElements(tensor.shape) * ElementBytes(tensor.dtype);
}

// The tensors of each shard.
std::vector<std::vector<SafetensorsSpec>> Pack(
    const std::vector<SafetensorsSpec>& tensors, std::int64_t max_bytes) {
  std::vector<std::vector<SafetensorsSpec>> shards(1);
  std::int64_t in_shard = 0;
  for (const SafetensorsSpec& tensor : tensors) {
    CHECK(tensor.dtype == kSafetensorsBF16 || tensor.dtype == kSafetensorsF16 ||
          tensor.dtype == kSafetensorsF32)
        << tensor.name << " is " << tensor.dtype;
    const std::int64_t num_bytes = BytesOf(tensor);
    if (!shards.back().empty() && num_bytes > 0 &&
        in_shard + num_bytes > max_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(tensor);
    in_shard += num_bytes;
  }
  return shards;
}

std::string ShardName(const std::string& stem, std::size_t i, std::size_t n) {
  return n == 1
             ? absl::StrCat(stem, kExtension)
             : absl::StrFormat("%s-%05d-of-%05d%s", stem, i + 1, n, kExtension);
}

template <typename T>
void StoreAs(absl::string_view dtype, std::span<const T> values,
             std::byte* to) {
  const auto store = [&](auto convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto stored = convert(static_cast<float>(values[i]));
      std::memcpy(to + i * sizeof(stored), &stored, sizeof(stored));
    }
  };
  if (dtype == kSafetensorsF32) {
    store([](float value) { return value; });
  } else if (dtype == kSafetensorsF16) {
    store([](float value) { return FloatToHalf(value); });
  } else {
    store([](float value) { return BFloat16(value); });
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    FileSystem& files, const std::string& dir,
    const std::vector<SafetensorsSpec>& tensors,
    const SafetensorsOptions& options) {
  std::unique_ptr<SafetensorsWriter> writer(
      new SafetensorsWriter(files, dir, options));
  auto packed = Pack(tensors, options.max_shard_bytes);
  for (std::size_t i = 0; i < packed.size(); ++i) {
    RETURN_IF_ERROR(writer->AddShard(ShardName(options.stem, i, packed.size()),
                                     std::move(packed[i])));
  }
  return writer;
}

absl::Status SafetensorsWriter::AddShard(const std::string& name,
                                         std::vector<SafetensorsSpec> tensors) {
  // Wider types first: then every tensor starts at a multiple of its element.
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const SafetensorsSpec& a, const SafetensorsSpec& b) {
                     return ElementBytes(a.dtype) > ElementBytes(b.dtype);
                   });
  std::vector<SafetensorsEntry> entries;
  std::int64_t end = 0;
  for (const SafetensorsSpec& tensor : tensors) {
    const std::int64_t begin = std::exchange(end, end + BytesOf(tensor));
    entries.push_back({tensor.name, tensor.dtype, tensor.shape, begin, end});
    const bool is_new =
        places_.emplace(tensor.name, Place{shards_.size(), entries.back(), 0})
            .second;
    CHECK(is_new) << "tensor " << tensor.name << " comes twice";
  }
  const std::string header =
      FormatSafetensorsHeader(entries, options_.metadata);
  ASSIGN_OR_RETURN(auto file, files_.OpenForWrite(PathOf(name + kTemporary),
                                                  WriteMode::kCreate));
  shards_.push_back(
      {name, std::move(file), static_cast<std::int64_t>(header.size())});
  const Shard& shard = shards_.back();
  RETURN_IF_ERROR(shard.file->WriteAt(0, AsBytes(header)));
  return shard.file->Truncate(shard.data_begin + end);
}

SafetensorsWriter::~SafetensorsWriter() {
  if (!finished_) {
    for (Shard& shard : shards_) {
      shard.file = nullptr;
      files_.Remove(PathOf(shard.name + kTemporary)).IgnoreError();
    }
  }
}

std::string SafetensorsWriter::PathOf(const std::string& name) const {
  return JoinPath(dir_, name);
}

std::string SafetensorsWriter::IndexName() const {
  return absl::StrCat(options_.stem, kExtension, ".index.json");
}

template <typename T>
absl::Status SafetensorsWriter::WriteAny(const std::string& name,
                                         std::int64_t begin,
                                         std::span<const T> values) {
  const auto at = places_.find(name);
  CHECK(at != places_.end()) << "no tensor " << name;
  Place& place = at->second;
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  CHECK(begin >= 0 && count <= place.entry.num_elements() - begin)
      << name << " has " << place.entry.num_elements() << " elements, not ["
      << begin << ", " << begin + count << ")";
  place.written += count;
  const Shard& shard = shards_[place.shard];
  const std::int64_t element_bytes = ElementBytes(place.entry.dtype);
  std::int64_t offset =
      shard.data_begin + place.entry.begin + begin * element_bytes;
  constexpr std::size_t kPiece = std::size_t{1} << 18U;  // elements
  std::vector<std::byte> piece(std::min(values.size(), kPiece) *
                               static_cast<std::size_t>(element_bytes));
  while (!values.empty()) {
    const std::span<const T> now =
        values.first(std::min(values.size(), kPiece));
    StoreAs(place.entry.dtype, now, piece.data());
    const Bytes bytes = Bytes(piece).first(
        now.size() * static_cast<std::size_t>(element_bytes));
    RETURN_IF_ERROR(shard.file->WriteAt(offset, bytes));
    offset += static_cast<std::int64_t>(bytes.size());
    values = values.subspan(now.size());
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Write(const std::string& name,
                                      std::int64_t begin,
                                      std::span<const float> values) {
  return WriteAny(name, begin, values);
}

absl::Status SafetensorsWriter::Write(const std::string& name,
                                      std::int64_t begin,
                                      std::span<const BFloat16> values) {
  return WriteAny(name, begin, values);
}

absl::Status SafetensorsWriter::CheckComplete() const {
  for (const auto& [name, place] : places_) {
    if (place.written != place.entry.num_elements()) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot finish ", PathOf(shards_[place.shard].name),
                       ": ", place.written, " of ", place.entry.num_elements(),
                       " elements of tensor '", name, "' were written"));
    }
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::CloseShards() {
  for (const Shard& shard : shards_) {
    RETURN_IF_ERROR(shard.file->Sync());
    RETURN_IF_ERROR(shard.file->Close());
  }
  return absl::OkStatus();
}

std::string SafetensorsWriter::IndexText() const {
  nlohmann::json index;
  std::int64_t total = 0;
  index["weight_map"] = nlohmann::json::object();
  for (const auto& [name, place] : places_) {
    index["weight_map"][name] = shards_[place.shard].name;
    total += place.entry.end - place.entry.begin;
  }
  index["metadata"]["total_size"] = total;
  return index.dump(2) + "\n";
}

absl::Status SafetensorsWriter::Publish() {
  const bool sharded = shards_.size() > 1;
  if (sharded) {
    absl::Status removed = files_.Remove(PathOf(IndexName()));
    if (!removed.ok() && !absl::IsNotFound(removed)) {
      return removed;
    }
  }
  for (const Shard& shard : shards_) {
    RETURN_IF_ERROR(
        files_.Rename(PathOf(shard.name + kTemporary), PathOf(shard.name)));
  }
  RETURN_IF_ERROR(files_.SyncDirectory(dir_));
  return sharded ? files_.WriteFileAtomically(PathOf(IndexName()), IndexText())
                 : absl::OkStatus();
}

absl::Status SafetensorsWriter::RemoveStale() {
  std::vector<std::string> kept;
  for (const Shard& shard : shards_) {
    kept.push_back(shard.name);
  }
  if (shards_.size() > 1) {
    kept.push_back(IndexName());
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(dir_));
  for (const std::string& name : names) {
    const bool ours =
        name == absl::StrCat(options_.stem, kExtension) ||
        name == IndexName() ||
        (absl::StartsWith(name, options_.stem + "-") &&
         absl::EndsWith(name, kExtension) && absl::StrContains(name, "-of-"));
    if (ours && std::find(kept.begin(), kept.end(), name) == kept.end()) {
      RETURN_IF_ERROR(files_.Remove(PathOf(name)));
    }
  }
  return files_.SyncDirectory(dir_);
}

absl::Status SafetensorsWriter::Finish() {
  RETURN_IF_ERROR(CheckComplete());
  RETURN_IF_ERROR(CloseShards());
  RETURN_IF_ERROR(Publish());
  finished_ = true;
  return RemoveStale();
}

}  // namespace rtpurbo
