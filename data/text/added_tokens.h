// Tokens that are found in the text itself, before it is split and encoded:
// <|endoftext|>, <tool_call> and the like.
//
// The text is read from left to right; where tokens begin, the longest is
// taken, and reading goes on behind it.

#ifndef RTPURBO_DATA_TEXT_ADDED_TOKENS_H_
#define RTPURBO_DATA_TEXT_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool lstrip = false;      // takes the white space before it along
  bool rstrip = false;      // takes the white space after it along
  bool normalized = false;  // is looked for in the normalized text
  bool special = false;     // is left out of decoded text, if so asked
};

// Unchanged once made, so any number of threads may use it.
class AddedTokenFinder {
 public:
  // InvalidArgument if two tokens have the same content.
  static absl::StatusOr<AddedTokenFinder> Create(
      std::vector<AddedToken> tokens);

  // Calls `emit` with the parts of `text` in order: `id` of a token, or the
  // text between tokens, which is not empty.
  using Emit = std::function<void(absl::string_view text,
                                  std::optional<std::int32_t> id)>;
  void Split(absl::string_view text, const Emit& emit) const;

 private:
  AddedTokenFinder() = default;

  // The longest token that `text` begins with, or null.
  const AddedToken* TokenAt(absl::string_view text) const;

  std::vector<AddedToken> tokens_;  // longest first
  std::array<std::vector<std::size_t>, 256> by_first_byte_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_ADDED_TOKENS_H_
