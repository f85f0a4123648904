// The header of a safetensors file: what lies where.
//
// A file is: 8 bytes, the header's length N (little-endian); N bytes of JSON,
//   {"__metadata__": {text: text}, "name": {"dtype": "BF16", "shape": [2, 3],
//    "data_offsets": [begin, end]}, ...}
// then the data. Offsets count from the start of the data. The tensors cover
// the data without gap or overlap. Format: github.com/huggingface/safetensors.

#ifndef RTPURBO_DATA_SAFETENSORS_HEADER_H_
#define RTPURBO_DATA_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

// One tensor of a file.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the format spells it: "BF16", "F16", "F32", "I64"
  Shape shape;
  std::int64_t begin = 0;  // in the data, bytes
  std::int64_t end = 0;

  std::int64_t num_elements() const;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;        // in the order of the data
  std::map<std::string, std::string> metadata;  // e.g. {"format": "pt"}
  absl::string_view text;                       // the JSON, a view of the file
  Bytes data;                                   // the rest of the file
};

// The types that are read and written as floats.
inline constexpr char kSafetensorsBF16[] = "BF16";
inline constexpr char kSafetensorsF16[] = "F16";
inline constexpr char kSafetensorsF32[] = "F32";

// Bits of an element, or 0 if the format has no such type.
std::int64_t SafetensorsBits(absl::string_view dtype);

// Reads the header of a whole file.
//   file: its bytes; the result points into them.  path: for messages.
// Returns DataLoss, naming file and tensor, if the file is shorter than 8 bytes
// or than its header says, the header is longer than 100 MB (as in the
// reference), not a JSON object, names a tensor twice or without type, shape or
// offsets, a type is unknown, a size is negative, no integer or overflows,
// offsets and shape x type differ, or tensors overlap, leave a gap or lie
// beyond the end.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    Bytes file, const std::string& path);

// The first 8 + N bytes of a file with these entries and metadata, in the order
// given; N is made a multiple of 8 by spaces.
std::string FormatSafetensorsHeader(
    const std::vector<SafetensorsEntry>& entries,
    const std::map<std::string, std::string>& metadata);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_SAFETENSORS_HEADER_H_
