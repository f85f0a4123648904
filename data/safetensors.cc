#include "data/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/float16.h"
#include "data/strict_json.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// Element i of a tensor that need not be aligned.
template <typename Stored>
Stored LoadAt(const std::byte* from, std::size_t i) {
  Stored value;
  std::memcpy(&value, from + i * sizeof(Stored), sizeof(Stored));
  return value;
}

float ToFloat(float value) {
  return value;
}
float ToFloat(BFloat16 value) {
  return static_cast<float>(value);
}
struct Half {
  std::uint16_t bits;
};
float ToFloat(Half value) {
  return HalfToFloat(value.bits);
}

template <typename Stored, typename T>
void Convert(const std::byte* from, std::int64_t begin, std::span<T> out) {
  from += begin * static_cast<std::int64_t>(sizeof(Stored));
  if constexpr (std::is_same_v<Stored, T>) {
    if (!out.empty()) {
      std::memcpy(out.data(), from, out.size_bytes());
    }
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<T>(ToFloat(LoadAt<Stored>(from, i)));
    }
  }
}

// shard -> the tensors that it holds, from an index file.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ReadIndex(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseStrictJson(text, path));
  const auto bad = [&](absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", what, "; copy or make the file again"));
  };
  if (!index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object()) {
    return bad("has no object 'weight_map' from tensors to shards");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) {
      return bad(absl::StrCat("the shard of '", tensor, "' is no text"));
    }
    const auto name = shard.get<std::string>();
    // A name that leads out of the folder was not written by an exporter.
    if (name.empty() || name.find('/') != std::string::npos) {
      return bad(absl::StrCat("the shard of '", tensor, "' is '", name,
                              "', which is no name of a file in the folder"));
    }
    shards[name].push_back(tensor);
  }
  return shards;
}

}  // namespace

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::Open(
    FileSystem& files, const std::string& dir) {
  SafetensorsFolder folder(dir);
  ASSIGN_OR_RETURN(const bool single, files.Exists(JoinPath(dir, kSingleFile)));
  ASSIGN_OR_RETURN(const bool indexed, files.Exists(JoinPath(dir, kIndexFile)));
  if (single) {
    ASSIGN_OR_RETURN(const SafetensorsFile* const file,
                     folder.Add(files, dir, kSingleFile));
    for (const SafetensorsEntry& entry : file->header.entries) {
      folder.places_[entry.name] = {file, &entry};
    }
  } else if (indexed) {
    RETURN_IF_ERROR(folder.AddIndexed(files));
  } else {
    return absl::NotFoundError(absl::StrCat(
        dir, " has no weights: neither ", kSingleFile, " nor ", kIndexFile,
        "; name a folder in Hugging Face's layout (weights in another format "
        "must be saved as safetensors first)"));
  }
  return folder;
}

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::OpenFile(
    FileSystem& files, const std::string& path) {
  SafetensorsFolder folder(path);
  ASSIGN_OR_RETURN(const SafetensorsFile* const file,
                   folder.Add(files, ParentDirectory(path), BaseName(path)));
  for (const SafetensorsEntry& entry : file->header.entries) {
    folder.places_[entry.name] = {file, &entry};
  }
  return folder;
}

absl::StatusOr<const SafetensorsFile*> SafetensorsFolder::Add(
    FileSystem& files, const std::string& dir, const std::string& name) {
  const std::string path = JoinPath(dir, name);
  auto file = std::make_unique<SafetensorsFile>();
  file->name = name;
  ASSIGN_OR_RETURN(file->map, files.Map(path));
  ASSIGN_OR_RETURN(file->header,
                   ParseSafetensorsHeader(file->map->bytes(), path));
  files_.push_back(std::move(file));
  return files_.back().get();
}

absl::Status SafetensorsFolder::AddIndexed(FileSystem& files) {
  const std::string index = JoinPath(path_, kIndexFile);
  ASSIGN_OR_RETURN(const auto shards, ReadIndex(files, index));
  for (const auto& [shard, tensors] : shards) {
    const std::string path = JoinPath(path_, shard);
    ASSIGN_OR_RETURN(const bool there, files.Exists(path));
    if (!there) {
      return absl::NotFoundError(absl::StrCat(
          index, " names the shard ", shard, " for '", tensors.front(),
          "', but ", path, " is not there; copy the folder again"));
    }
    ASSIGN_OR_RETURN(const SafetensorsFile* const file,
                     Add(files, path_, shard));
    std::map<std::string, const SafetensorsEntry*> entries;
    for (const SafetensorsEntry& entry : file->header.entries) {
      entries[entry.name] = &entry;
    }
    for (const std::string& tensor : tensors) {
      const auto entry = entries.find(tensor);
      if (entry == entries.end()) {
        return absl::DataLossError(absl::StrCat(
            index, " says that '", tensor, "' is in ", shard,
            ", but it is not there; copy or make the folder again"));
      }
      places_[tensor] = {file, entry->second};
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> SafetensorsFolder::names() const {
  std::vector<std::string> names;
  names.reserve(places_.size());
  for (const auto& [name, place] : places_) {
    names.push_back(name);
  }
  return names;
}

bool SafetensorsFolder::Has(const std::string& name) const {
  return places_.count(name) > 0;
}

absl::StatusOr<SafetensorsFolder::Place> SafetensorsFolder::FindPlace(
    const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    return absl::NotFoundError(absl::StrCat(path_, " has no tensor '", name,
                                            "' among its ", places_.size()));
  }
  return found->second;
}

absl::StatusOr<const SafetensorsEntry*> SafetensorsFolder::Find(
    const std::string& name) const {
  ASSIGN_OR_RETURN(const Place place, FindPlace(name));
  return place.entry;
}

void SafetensorsFolder::Forget() const {
  for (const auto& file : files_) {
    file->map->Forget();
  }
}

absl::StatusOr<Bytes> SafetensorsFolder::Raw(const std::string& name) const {
  ASSIGN_OR_RETURN(const Place place, FindPlace(name));
  return place.file->header.data.subspan(
      static_cast<std::size_t>(place.entry->begin),
      static_cast<std::size_t>(place.entry->end - place.entry->begin));
}

template <typename T>
absl::Status SafetensorsFolder::Read(const std::string& name,
                                     std::int64_t begin,
                                     std::span<T> out) const {
  ASSIGN_OR_RETURN(const Place place, FindPlace(name));
  ASSIGN_OR_RETURN(const Bytes raw, Raw(name));
  const std::int64_t there = place.entry->num_elements();
  const auto count = static_cast<std::int64_t>(out.size());
  const std::string where =
      absl::StrCat("tensor '", name, "' of ", place.file->name, " in ", path_);
  if (begin < 0 || count > there || begin > there - count) {
    return absl::OutOfRangeError(
        absl::StrCat(where, " has ", there, " elements; [", begin, ", ",
                     begin + count, ") were asked for"));
  }
  const std::string& dtype = place.entry->dtype;
  if (dtype == kSafetensorsBF16) {
    Convert<BFloat16>(raw.data(), begin, out);
  } else if (dtype == kSafetensorsF16) {
    Convert<Half>(raw.data(), begin, out);
  } else if (dtype == kSafetensorsF32) {
    Convert<float>(raw.data(), begin, out);
  } else {
    return absl::FailedPreconditionError(absl::StrCat(
        where, " is ", dtype,
        ", which is not supported; convert the weights to BF16, F16 or F32"));
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFolder::ReadF32(const std::string& name,
                                        std::int64_t begin,
                                        std::span<float> out) const {
  return Read(name, begin, out);
}

absl::Status SafetensorsFolder::ReadBF16(const std::string& name,
                                         std::int64_t begin,
                                         std::span<BFloat16> out) const {
  return Read(name, begin, out);
}

}  // namespace rtpurbo
