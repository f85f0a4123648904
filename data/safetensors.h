// Published weights: a folder with model.safetensors, or with shards and
// model.safetensors.index.json, memory-mapped. Nothing is read before it is
// asked for, and any interval of any tensor is.
//
// Threads: reading is safe from any number of them.

#ifndef RTPURBO_DATA_SAFETENSORS_H_
#define RTPURBO_DATA_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"
#include "data/safetensors_header.h"
#include "kernels/core/bf16.h"

namespace rtpurbo {

// One mapped file.
struct SafetensorsFile {
  std::string name;  // in its folder
  SafetensorsHeader header;
  std::unique_ptr<MappedFile> map;
};

// Errors: NotFound (no weights in the folder, a shard of the index or a tensor
// that is not there), DataLoss (a damaged header or index, see
// safetensors_header.h), FailedPrecondition (a type that cannot be read as
// floats), OutOfRange (elements that are not there).
class SafetensorsFolder {
 public:
  // model.safetensors if it is there, else the shards of the index. With an
  // index, a tensor is read from the shard that the index names for it.
  static absl::StatusOr<SafetensorsFolder> Open(FileSystem& files,
                                                const std::string& dir);
  // One file of any name, e.g. projections.safetensors.
  static absl::StatusOr<SafetensorsFolder> OpenFile(FileSystem& files,
                                                    const std::string& path);

  // Of all tensors, sorted.
  std::vector<std::string> names() const;
  bool Has(const std::string& name) const;
  absl::StatusOr<const SafetensorsEntry*> Find(const std::string& name) const;
  // In the order of their names.
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const {
    return files_;
  }

  // Elements [begin, begin + out.size()) of the tensor in row-major order.
  // bf16 and f16 become f32 exactly; to bf16, f32 and f16 are rounded to
  // nearest even.
  absl::Status ReadF32(const std::string& name, std::int64_t begin,
                       std::span<float> out) const;
  absl::Status ReadBF16(const std::string& name, std::int64_t begin,
                        std::span<BFloat16> out) const;
  // Gives back the memory that what was read so far takes. What Raw() returned
  // stays valid.
  void Forget() const;
  // The tensor as stored, of any type. Valid as long as this object.
  absl::StatusOr<Bytes> Raw(const std::string& name) const;

 private:
  struct Place {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };

  explicit SafetensorsFolder(std::string path) : path_(std::move(path)) {}
  absl::StatusOr<const SafetensorsFile*> Add(FileSystem& files,
                                             const std::string& dir,
                                             const std::string& name);
  absl::Status AddIndexed(FileSystem& files);
  absl::StatusOr<Place> FindPlace(const std::string& name) const;
  template <typename T>
  absl::Status Read(const std::string& name, std::int64_t begin,
                    std::span<T> out) const;

  std::string path_;  // of the folder or file, for messages
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> places_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_SAFETENSORS_H_
