// Characters and sets of them as PCRE2 reads them in UTF mode.

#ifndef RTPURBO_DATA_TEXT_CHARACTER_SET_H_
#define RTPURBO_DATA_TEXT_CHARACTER_SET_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "data/text/unicode_ranges.h"

namespace rtpurbo {

inline constexpr std::uint32_t kMaxCode = 0x10FFFF;

// What stands between the brackets of [...] or, negated, [^...].
struct CharacterSet {
  std::string members;
  bool negated = false;
};

void AppendSet(const CharacterSet& set, std::string* out);

// One character, outside of brackets.
void AppendLiteral(std::uint32_t code, std::string* out);

// Members of a set. `last` is included.
void AppendRange(std::uint32_t first, std::uint32_t last, std::string* out);
void AppendRanges(CodeRanges ranges, std::string* out);
// All that is in none of `ranges`.
void AppendComplement(CodeRanges ranges, std::string* out);

// The members of the general category `name`, and `added`.
std::string CategoryMembers(absl::string_view name, CodeRanges added);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_CHARACTER_SET_H_
