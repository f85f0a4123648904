// The teacher's labels, computed once: for every label row of a sequence the
// ten largest logits with their tokens, and the log-sum-exp over the whole
// vocabulary, 84 bytes a row. With z the logits of a row:
//   ids    [L, 10] u32  tokens, largest logit first
//   logits [L, 10] f32  their z
//   lse    [L]     f32  log sum over the vocabulary of exp(z)
// so the probability of what is not among the ten is 1 - sum exp(logits - lse).
//
// A record is the labels of one sequence, found by its index in the stream. The
// cache says what it was made from (LabelFingerprints); used with anything
// else, it is refused.
//
// Writing is safe against crashes: records go, each with a CRC-32C, to the end
// of a journal, `path`.part; Finish() makes the HDF5 file of it and removes it.
// So a file called `path` is complete, and a journal continues after its last
// whole record. The same records in the same order give the same file, however
// often it was interrupted.
//
// Datasets (n records, L label rows of all): index i64 [n], end i64 [n] (where
// each record ends in the rows), crc u32 [n], ids, logits, lse. Attributes of
// the root: format, version, weights, config, stream.

#ifndef RTPURBO_DATA_LABEL_CACHE_H_
#define RTPURBO_DATA_LABEL_CACHE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"
#include "data/hdf5_file.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

inline constexpr std::int64_t kTopLabels = 10;

// What labels depend on, as digests.
struct LabelFingerprints {
  std::string weights;  // of the teacher
  std::string config;   // of the model: what it computes with them
  std::string stream;   // which tokens it saw
};

// L counts label rows, K the kTopLabels tokens of each.
struct Labels {
  std::int64_t index = 0;  // of the sequence, in the stream
  std::vector<std::uint32_t> ids_LK;
  std::vector<float> logits_LK;
  std::vector<float> lse_L;

  std::int64_t num_rows() const {
    return static_cast<std::int64_t>(lse_L.size());
  }
};

// As bytes, for the rank that writes what others have computed.
std::string EncodeLabels(const Labels& labels);
// REQUIRES: they are from EncodeLabels().
Labels DecodeLabels(absl::string_view bytes);

// One thread.
class LabelCacheWriter {
 public:
  // Starts a journal, or continues the one that is there: a record that was cut
  // off is dropped. `files` must outlive it.
  // Returns FailedPrecondition, naming which, if the journal was made with
  // other fingerprints; DataLoss if its head is damaged.
  static absl::StatusOr<std::unique_ptr<LabelCacheWriter>> Open(
      FileSystem& files, const std::string& path,
      const LabelFingerprints& fingerprints);

  std::int64_t num_records() const {
    return static_cast<std::int64_t>(records_.size());
  }
  bool Contains(std::int64_t index) const;

  // REQUIRES: at least one row; sizes agree; the index is new.
  absl::Status Append(const Labels& labels);
  // Makes the HDF5 file, syncs it, gives it its name, removes the journal. No
  // call may follow.
  // Returns FailedPrecondition if there is no record.
  absl::Status Finish();

 private:
  struct Record {
    std::int64_t index;
    std::int64_t offset;  // in the journal
    std::int64_t num_rows;
  };

  LabelCacheWriter(FileSystem& files, std::string path,
                   LabelFingerprints fingerprints)
      : files_(files),
        path_(std::move(path)),
        fingerprints_(std::move(fingerprints)) {}
  std::string JournalPath() const { return path_ + ".part"; }
  absl::Status Start();
  absl::Status FindRecords(std::int64_t begin);
  // A record without its CRC. DataLoss if it is not what was written.
  absl::Status ReadRecord(std::int64_t offset, std::int64_t num_rows,
                          std::string* bytes) const;
  absl::Status WriteHdf5(const std::string& path) const;

  FileSystem& files_;
  std::string path_;
  LabelFingerprints fingerprints_;
  std::unique_ptr<WritableFile> journal_;
  std::int64_t size_ = 0;  // of the journal
  std::vector<Record> records_;
  std::map<std::int64_t, std::int64_t> record_of_index_;
};

// A finished cache. Any number of threads.
class LabelCache {
 public:
  // `files` must outlive it.
  // Returns NotFound if there is none or it is not finished,
  // FailedPrecondition, naming which, if it was made from anything else than
  // `expected`, or if it is no label cache of this version.
  static absl::StatusOr<std::unique_ptr<LabelCache>> Open(
      FileSystem& files, const std::string& path,
      const LabelFingerprints& expected);

  std::int64_t num_records() const {
    return static_cast<std::int64_t>(records_.size());
  }
  std::int64_t num_rows() const { return num_rows_; }
  bool Contains(std::int64_t index) const { return records_.contains(index); }
  // The labels of a sequence.
  // Returns NotFound if there are none, DataLoss if they are not what was
  // written.
  absl::StatusOr<Labels> Read(std::int64_t index) const;

  // Reads all labels of a cache, whatever it was made from.
  // Returns the first error of Open() or Read().
  static absl::Status Verify(FileSystem& files, const std::string& path);

 private:
  struct Record {
    Interval rows;
    std::uint32_t crc;
  };

  explicit LabelCache(std::unique_ptr<Hdf5File> file)
      : file_(std::move(file)) {}
  // `expected` may be null.
  static absl::StatusOr<std::unique_ptr<LabelCache>> OpenAny(
      FileSystem& files, const std::string& path,
      const LabelFingerprints* expected);
  absl::Status ReadRecords();

  std::unique_ptr<Hdf5File> file_;
  std::int64_t num_rows_ = 0;
  std::map<std::int64_t, Record> records_;  // by index
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_LABEL_CACHE_H_
