// From text to a token store: reads, encodes, appends.

#ifndef RTPURBO_DATA_PREPARE_TOKENS_H_
#define RTPURBO_DATA_PREPARE_TOKENS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/token_store.h"
#include "data/tokenizer.h"

namespace rtpurbo {

struct PrepareCounts {
  std::int64_t files = 0;  // opened so far
  std::int64_t all_files = 0;
  std::int64_t documents = 0;  // written so far, and so on
  std::int64_t text_bytes = 0;
  std::int64_t tokens = 0;
  std::int64_t held_out_tokens = 0;
  std::int64_t passed_over = 0;  // files in folders that are of no known kind
};

// Makes the token store `path` from files and folders (text_reader.h). The file
// appears whole or not at all, an old one is replaced; the same inputs give the
// same bytes, with any number of threads. Memory: the longest document, or some
// MiB of short ones. `progress` is called after every such batch, and ends it
// with an error.
// Returns what reading, writing or `progress` says.
absl::StatusOr<PrepareCounts> PrepareTokens(
    FileSystem& files, const std::vector<std::string>& inputs,
    const Tokenizer& tokenizer, const std::string& tokenizer_fingerprint,
    const HeldOutRule& rule, const std::string& path,
    const std::function<absl::Status(const PrepareCounts&)>& progress);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_PREPARE_TOKENS_H_
