// Writes weights as other engines load them: one safetensors file, or shards
// and an index, in Hugging Face's layout.
//
// Sizes are known before values are, so every tensor has its place from the
// start and pieces may come in any order; nothing is held in memory.

#ifndef RTPURBO_DATA_SAFETENSORS_WRITER_H_
#define RTPURBO_DATA_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/safetensors_header.h"
#include "kernels/core/bf16.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

struct SafetensorsSpec {
  std::string name;
  std::string dtype;  // kSafetensorsBF16, kSafetensorsF16 or kSafetensorsF32
  Shape shape;
};

struct SafetensorsOptions {
  // <stem>.safetensors, or <stem>-00001-of-00002.safetensors and
  // <stem>.safetensors.index.json.
  std::string stem = "model";
  // Tensors are put into shards in the order given, each as full as it gets; a
  // larger tensor has one of its own.
  std::int64_t max_shard_bytes = 5'000'000'000;
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

// Life: Create, Write every element of every tensor once, Finish. Destroyed
// without Finish, what it wrote is removed. One thread at a time.
class SafetensorsWriter {
 public:
  // Makes the files, with ".tmp" at the end of their names.
  // REQUIRES: names differ; the folder exists.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      FileSystem& files, const std::string& dir,
      const std::vector<SafetensorsSpec>& tensors,
      const SafetensorsOptions& options = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Elements [begin, begin + values.size()) of a tensor in row-major order.
  // Rounds to nearest even where its type is narrower.
  // REQUIRES: the tensor has them.
  absl::Status Write(const std::string& name, std::int64_t begin,
                     std::span<const float> values);
  absl::Status Write(const std::string& name, std::int64_t begin,
                     std::span<const BFloat16> values);

  // Syncs, then gives the files their names: a single file replaces an older
  // one in one step. With shards, the old index goes first and the new one
  // comes last, so a crash between leaves a folder without an index, which is
  // refused, or with the older single file. Files of an older export with the
  // same stem are removed. Whoever wants the whole folder to appear in one
  // step, writes to another and renames it.
  // Returns FailedPrecondition if elements are missing.
  absl::Status Finish();

 private:
  struct Shard {
    std::string name;
    std::unique_ptr<WritableFile> file;
    std::int64_t data_begin = 0;  // in the file
  };
  struct Place {
    std::size_t shard = 0;
    SafetensorsEntry entry;
    std::int64_t written = 0;  // elements
  };

  SafetensorsWriter(FileSystem& files, std::string dir,
                    SafetensorsOptions options)
      : files_(files), dir_(std::move(dir)), options_(std::move(options)) {}
  absl::Status AddShard(const std::string& name,
                        std::vector<SafetensorsSpec> tensors);
  template <typename T>
  absl::Status WriteAny(const std::string& name, std::int64_t begin,
                        std::span<const T> values);
  absl::Status CheckComplete() const;
  absl::Status CloseShards();
  absl::Status Publish();
  absl::Status RemoveStale();
  std::string IndexText() const;
  std::string IndexName() const;
  std::string PathOf(const std::string& name) const;

  FileSystem& files_;
  std::string dir_;
  SafetensorsOptions options_;
  std::vector<Shard> shards_;
  std::map<std::string, Place> places_;
  bool finished_ = false;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_SAFETENSORS_WRITER_H_
