// Documents as tokens in one HDF5 file: written once, then read anywhere.
//
// Datasets (D documents, T tokens of all, S label spans of all):
//   tokens                [T]    i32  document behind document
//   documents/end         [D]    i64  where each ends in `tokens`
//   documents/held_out    [D,2]  i64  tokens of the document, from its begin
//   documents/hash        [D]    u64  of its tokens
//   documents/name_end    [D]    i64  where its name ends in `names`
//   documents/span_end    [D]    i64  where its spans end in `label_spans`
//   names                 [..]   u8   UTF-8
//   label_spans           [S,2]  i64  tokens of the document, from its begin
// Attributes of the root: format, version, tokenizer (fingerprint), digest (of
// the content: SHA-256), long_document and one_in (below).
//
// Held out, never trained on: of a document of at least `long_document` tokens
// its last 1/one_in; of the shorter ones each whole document whose hash is
// divisible by one_in. The hash is of the tokens, so copies of a document are
// on the same side.
//
// Same documents in the same order, same bytes.

#ifndef RTPURBO_DATA_TOKEN_STORE_H_
#define RTPURBO_DATA_TOKEN_STORE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/digest.h"
#include "data/file_system.h"
#include "data/hdf5_file.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

struct HeldOutRule {
  std::int64_t long_document = 100'000;
  std::int64_t one_in = 10;
};

// The tokens of a document that are held out; empty, at its end, if none.
Interval HeldOutTokens(const HeldOutRule& rule, std::int64_t num_tokens,
                       std::uint64_t hash);

struct TokenDocument {
  std::string name;
  std::vector<std::int32_t> tokens_T;  // not empty
  std::vector<Interval> label_spans;   // ascending, apart, none empty
};

// Appends documents to a file that appears, whole, with Finish(). Destroyed
// before that, it leaves what was there. Memory: one document. One thread.
class TokenStoreWriter {
 public:
  // Writes to `path`.tmp. `files` must outlive it.
  // REQUIRES: rule.long_document >= 1, rule.one_in >= 2.
  static absl::StatusOr<std::unique_ptr<TokenStoreWriter>> Create(
      FileSystem& files, const std::string& path,
      const std::string& tokenizer_fingerprint, const HeldOutRule& rule);
  ~TokenStoreWriter();
  TokenStoreWriter(const TokenStoreWriter&) = delete;
  TokenStoreWriter& operator=(const TokenStoreWriter&) = delete;

  // REQUIRES: the document is as TokenDocument says, spans within its tokens.
  absl::Status Append(const TokenDocument& document);
  // Syncs the file and gives it its name. No call may follow.
  // Returns FailedPrecondition if no document was appended.
  absl::Status Finish();

  std::int64_t num_documents() const { return num_documents_; }
  std::int64_t num_tokens() const { return num_tokens_; }
  std::int64_t num_held_out() const { return num_held_out_; }

 private:
  TokenStoreWriter(FileSystem& files, std::string path, const HeldOutRule& rule)
      : files_(files), path_(std::move(path)), rule_(rule) {}
  std::string TemporaryPath() const { return path_ + ".tmp"; }
  absl::Status CreateDatasets();

  FileSystem& files_;
  std::string path_;
  HeldOutRule rule_;
  std::unique_ptr<Hdf5File> file_;
  Sha256 digest_;
  bool finished_ = false;
  std::int64_t num_documents_ = 0;
  std::int64_t num_tokens_ = 0;
  std::int64_t num_held_out_ = 0;
  std::int64_t num_name_bytes_ = 0;
  std::int64_t num_spans_ = 0;
};

// What a TokenStore knows of a document without reading its tokens.
struct TokenDocumentInfo {
  std::string name;
  std::int64_t num_tokens = 0;
  Interval training;  // these two are apart and make up the document
  Interval held_out;
  std::vector<Interval> label_spans;
};

// A finished file, open for reading. The table of documents is in memory, the
// tokens are not. Any number of threads.
class TokenStore {
 public:
  // `files` must outlive it.
  // Returns FailedPrecondition if the file is none of these or of another
  // version, DataLoss if its tables contradict each other.
  static absl::StatusOr<std::unique_ptr<TokenStore>> Open(
      FileSystem& files, const std::string& path);

  std::int64_t num_documents() const {
    return static_cast<std::int64_t>(documents_.size());
  }
  std::int64_t num_tokens() const { return num_tokens_; }
  // REQUIRES: 0 <= document < num_documents().
  const TokenDocumentInfo& document(std::int64_t document) const;
  const std::string& tokenizer_fingerprint() const { return tokenizer_; }
  const std::string& digest() const { return digest_; }
  const HeldOutRule& held_out_rule() const { return rule_; }
  const std::string& path() const { return file_->path(); }

  // Tokens [range.begin, range.end) of a document.
  // REQUIRES: the range is within the document.
  absl::StatusOr<std::vector<std::int32_t>> Read(std::int64_t document,
                                                 const Interval& range) const;

  // Reads everything and compares its digest. DataLoss if it differs.
  absl::Status Verify() const;

 private:
  explicit TokenStore(std::unique_ptr<Hdf5File> file)
      : file_(std::move(file)) {}
  absl::Status ReadAttributes();
  absl::Status ReadDocuments();
  absl::StatusOr<std::vector<std::int64_t>> ReadEnds(
      const std::string& name, std::int64_t num_items) const;
  absl::StatusOr<std::vector<Interval>> ReadIntervals(
      const std::string& name) const;
  absl::StatusOr<std::int64_t> NumRows(const std::string& name) const;
  absl::Status CheckDocument(const TokenDocumentInfo& document) const;
  absl::Status Damaged(const std::string& what) const;

  std::unique_ptr<Hdf5File> file_;
  HeldOutRule rule_;
  std::string tokenizer_;
  std::string digest_;
  std::int64_t num_tokens_ = 0;
  std::vector<std::int64_t> begins_;  // of documents, in `tokens`
  std::vector<TokenDocumentInfo> documents_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TOKEN_STORE_H_
