// "Did you mean": the known word that a mistyped one is closest to.

#ifndef RTPURBO_KERNELS_CORE_CLOSEST_H_
#define RTPURBO_KERNELS_CORE_CLOSEST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace rtpurbo {

// The one of `words` with the fewest insertions, deletions and replacements of
// a character from `word` (the first of them in a tie), or "" if that takes
// more than a third of the longer one's length, rounded up.
std::string ClosestWord(absl::string_view word,
                        const std::vector<std::string>& words);

// " (did you mean \"x\"?)" for the closest word, or "".
std::string DidYouMean(absl::string_view word,
                       const std::vector<std::string>& words);

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_CLOSEST_H_
