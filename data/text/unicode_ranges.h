// Sets of code points that the libraries at hand do not know as Hugging Face
// does. tokenizers 0.23 splits by Unicode 16; PCRE2 10.42 knows Unicode 14.

#ifndef RTPURBO_DATA_TEXT_UNICODE_RANGES_H_
#define RTPURBO_DATA_TEXT_UNICODE_RANGES_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/strings/string_view.h"

namespace rtpurbo {

struct CodeRange {
  std::uint32_t first;
  std::uint32_t last;  // inclusive
};

// Ascending, with gaps between them.
using CodeRanges = std::span<const CodeRange>;

bool Contains(CodeRanges ranges, std::uint32_t code);

// The property White_Space. PCRE2's \s also has U+180E, which lost it in
// Unicode 6.3.
CodeRanges WhiteSpace();

// What Unicode 15, 15.1 and 16 added to a general category: L, Lu, Ll, Lt, Lm,
// Lo, M, N, Nd, P, S or Z. Nothing for any other name.
std::optional<CodeRanges> NewInCategory(absl::string_view category);

// The marks, and parts and results of compositions, that Unicode added after
// version 9, and unassigned or indifferent characters between them.
CodeRanges UnknownToNfc();

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_UNICODE_RANGES_H_
