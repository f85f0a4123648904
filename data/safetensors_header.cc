#include "data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/strict_json.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr char kMetadataKey[] = "__metadata__";

struct TypeBits {
  const char* name;
  std::int64_t bits;
};
constexpr std::array<TypeBits, 20> kTypes = {{
    {"F32", 32},    {"BF16", 16},   {"F16", 16},    {"F64", 64},
    {"I64", 64},    {"I32", 32},    {"I16", 16},    {"I8", 8},
    {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64},
}};

// What is wrong with the header of one file.
class Complaint {
 public:
  explicit Complaint(const std::string& path) : path_(path) {}

  absl::Status OfFile(absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(path_, ": ", what, "; copy or make the file again"));
  }
  absl::Status Of(absl::string_view tensor, absl::string_view what) const {
    return OfFile(absl::StrCat("tensor '", tensor, "' ", what));
  }

 private:
  const std::string& path_;
};

// A size or offset: an integer of at least 0.
absl::StatusOr<std::int64_t> ReadSize(const json& value,
                                      absl::string_view tensor,
                                      absl::string_view field,
                                      const Complaint& complaint) {
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() &&
       value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) ||
      (!value.is_number_unsigned() && value.get<std::int64_t>() < 0)) {
    return complaint.Of(
        tensor, absl::StrCat("has ", value.dump(), " in its ", field,
                             ", which is no integer from 0 to 2^63 - 1"));
  }
  return value.get<std::int64_t>();
}

absl::StatusOr<std::vector<std::int64_t>> ReadSizes(
    const json& of, absl::string_view tensor, const char* field,
    const Complaint& complaint) {
  const auto found = of.find(field);
  if (found == of.end() || !found->is_array()) {
    return complaint.Of(tensor, absl::StrCat("has no list '", field, "'"));
  }
  std::vector<std::int64_t> sizes;
  for (const json& value : *found) {
    ASSIGN_OR_RETURN(const std::int64_t size,
                     ReadSize(value, tensor, field, complaint));
    sizes.push_back(size);
  }
  return sizes;
}

// Bytes of `shape` elements of `bits` bits; -1 if that is no whole number or
// does not fit.
std::int64_t BytesOf(const Shape& shape, std::int64_t bits) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    return 0;
  }
  std::int64_t total = bits;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(total, dim, &total)) {
      return -1;
    }
  }
  return total % 8 == 0 ? total / 8 : -1;
}

absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& name,
                                           const json& value,
                                           const Complaint& complaint) {
  if (!value.is_object()) {
    return complaint.Of(name, "is no object of dtype, shape and data_offsets");
  }
  const auto dtype = value.find("dtype");
  if (dtype == value.end() || !dtype->is_string()) {
    return complaint.Of(name, "has no text 'dtype'");
  }
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = dtype->get<std::string>();
  const std::int64_t bits = SafetensorsBits(entry.dtype);
  if (bits == 0) {
    return complaint.Of(name,
                        absl::StrCat("has the unknown dtype ", entry.dtype));
  }
  ASSIGN_OR_RETURN(entry.shape, ReadSizes(value, name, "shape", complaint));
  ASSIGN_OR_RETURN(const std::vector<std::int64_t> offsets,
                   ReadSizes(value, name, "data_offsets", complaint));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return complaint.Of(name, "has data_offsets that are no [begin, end]");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  const std::int64_t num_bytes = BytesOf(entry.shape, bits);
  if (num_bytes < 0) {
    return complaint.Of(name,
                        absl::StrCat("has the impossible shape [",
                                     absl::StrJoin(entry.shape, ", "), "]"));
  }
  if (entry.end - entry.begin != num_bytes) {
    return complaint.Of(
        name, absl::StrCat("has ", entry.end - entry.begin, " bytes, but ",
                           entry.dtype, " [", absl::StrJoin(entry.shape, ", "),
                           "] takes ", num_bytes));
  }
  return entry;
}

absl::Status ReadMetadata(const json& value, const Complaint& complaint,
                          std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) {
    return complaint.OfFile("__metadata__ is no object");
  }
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return complaint.OfFile(absl::StrCat(
          "__metadata__ has something other than a text at '", key, "'"));
    }
    (*metadata)[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

// The entries, sorted by place, must be the data, each byte once.
absl::Status CheckCover(const std::vector<SafetensorsEntry>& entries,
                        std::int64_t data_bytes, const Complaint& complaint) {
  std::int64_t covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.end > data_bytes) {
      return complaint.Of(entry.name,
                          absl::StrCat("ends at byte ", entry.end,
                                       " of the data, which has ", data_bytes));
    }
    if (entry.begin < covered) {
      return complaint.Of(entry.name, "overlaps the tensor before it");
    }
    if (entry.begin > covered) {
      return complaint.Of(entry.name,
                          absl::StrCat("comes after ", entry.begin - covered,
                                       " bytes that belong to no tensor"));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    return complaint.OfFile(absl::StrCat("the last ", data_bytes - covered,
                                         " bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

std::int64_t SafetensorsEntry::num_elements() const {
  // Without a zero the product was found to fit; with one it need not be tried.
  const bool is_empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  return is_empty ? 0 : NumElements(shape);
}

std::int64_t SafetensorsBits(absl::string_view dtype) {
  const auto* const found =
      std::find_if(kTypes.begin(), kTypes.end(),
                   [&](const TypeBits& type) { return type.name == dtype; });
  return found == kTypes.end() ? 0 : found->bits;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    Bytes file, const std::string& path) {
  const Complaint complaint(path);
  if (file.size() < kLengthBytes) {
    return complaint.OfFile(absl::StrCat(
        "not a safetensors file: ", file.size(), " bytes are too few"));
  }
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8U | std::to_integer<std::uint64_t>(file[i]);
  }
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    return complaint.OfFile(
        absl::StrCat("not a whole safetensors file: its header would have ",
                     length, " bytes, but ", file.size() - kLengthBytes,
                     " follow, and 100000000 are the most"));
  }
  SafetensorsHeader header;
  header.text = {reinterpret_cast<const char*>(file.data()) + kLengthBytes,
                 static_cast<std::size_t>(length)};
  header.data = file.subspan(kLengthBytes + header.text.size());
  if (header.text.empty() || header.text.front() != '{') {
    return complaint.OfFile(
        "not a safetensors file: its header does not start with {");
  }
  ASSIGN_OR_RETURN(
      const json object,
      ParseStrictJson(header.text, absl::StrCat(path, ": the header")));
  for (const auto& [name, value] : object.items()) {
    if (name == kMetadataKey) {
      RETURN_IF_ERROR(ReadMetadata(value, complaint, &header.metadata));
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ReadEntry(name, value, complaint));
    header.entries.push_back(std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) <
                     std::tie(b.begin, b.end, b.name);
            });
  RETURN_IF_ERROR(CheckCover(header.entries,
                             static_cast<std::int64_t>(header.data.size()),
                             complaint));
  return header;
}

std::string FormatSafetensorsHeader(
    const std::vector<SafetensorsEntry>& entries,
    const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    absl::StrAppend(&text, "\"", kMetadataKey, "\":", json(metadata).dump());
  }
  for (const SafetensorsEntry& entry : entries) {
    absl::StrAppend(&text, text.size() > 1 ? "," : "", json(entry.name).dump(),
                    ":{\"dtype\":\"", entry.dtype, "\",\"shape\":[",
                    absl::StrJoin(entry.shape, ","), "],\"data_offsets\":[",
                    entry.begin, ",", entry.end, "]}");
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length += static_cast<char>((text.size() >> (8 * i)) & 0xffU);
  }
  return length + text;
}

}  // namespace rtpurbo
