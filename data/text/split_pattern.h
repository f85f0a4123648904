// Regular expressions of tokenizer.json, said to PCRE2.
//
// Hugging Face matches them with Oniguruma in its Ruby syntax. Both engines
// backtrack and take the leftmost match by the first alternative, but they
// differ in what some words mean: \s, \w, \h, \v, ^ and $, x{1,2}+, nested
// sets, letters that fold to two, and the version of Unicode. So a pattern is
// read here, and written again from what means the same in both:
//
//   literals   characters; \ and a punctuation mark; \t \n \r \f \v \xHH
//              \x{H...} \uHHHH (below U+0080 if given by number without braces)
//   sets       . \s \S \d \D \p{C} \P{C} \p{^C} with C a general category of
//              unicode_ranges.h; [...] and [^...] of literals, ranges, \s, \S,
//              \d and \p{C}
//   groups     ( ) (?: ) (?> ) (?= ) (?! ); (?i: ) of ASCII letters only
//   repeats    * + ? with ? (lazy) or + (possessive) after them; {n} {n,} {n,m}
//
// \s is White_Space; \p and \d are those of Unicode 16. Anything else is
// refused by name.

#ifndef RTPURBO_DATA_TEXT_SPLIT_PATTERN_H_
#define RTPURBO_DATA_TEXT_SPLIT_PATTERN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

// Returns the pattern for PCRE2 in UTF mode, without UCP.
// InvalidArgument if it has an error, Unimplemented if it has something else
// than the above; both name it and the byte where it is.
absl::StatusOr<std::string> TranslatePattern(absl::string_view pattern);

// A pattern for PCRE2 that matches exactly `text`.
std::string LiteralPattern(absl::string_view text);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_SPLIT_PATTERN_H_
