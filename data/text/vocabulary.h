// The texts of tokens and their ids.

#ifndef RTPURBO_DATA_TEXT_VOCABULARY_H_
#define RTPURBO_DATA_TEXT_VOCABULARY_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

// Any number of threads may read it while none adds to it.
class Vocabulary {
 public:
  using Entry = std::pair<std::string, std::int32_t>;

  // Returns what Add() says of the first entry that it does not take.
  static absl::StatusOr<Vocabulary> Create(std::vector<Entry> entries);

  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // InvalidArgument if there is a token of the same text or id, or if the id is
  // negative or above 16,777,215; both tokens are named.
  absl::Status Add(std::string text, std::int32_t id);

  // One more than the largest id. Ids below it may have no token.
  std::int64_t size() const { return static_cast<std::int64_t>(texts_.size()); }
  std::int64_t num_tokens() const {
    return static_cast<std::int64_t>(ids_.size());
  }

  std::optional<std::int32_t> Id(absl::string_view text) const;
  // Valid as long as this. Nothing if no token has this id.
  std::optional<absl::string_view> Text(std::int32_t id) const;

 private:
  Vocabulary() = default;

  // By id. A deque, so that what ids_ points to stays where it is.
  std::deque<std::optional<std::string>> texts_;
  absl::flat_hash_map<absl::string_view, std::int32_t> ids_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_VOCABULARY_H_
