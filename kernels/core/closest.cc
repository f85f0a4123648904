#include "kernels/core/closest.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

// Levenshtein's distance, one row of the table at a time.
std::size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string ClosestWord(absl::string_view word,
                        const std::vector<std::string>& words) {
  std::string closest;
  std::size_t least = word.size() + 1;
  for (const std::string& candidate : words) {
    const std::size_t longer = std::max(word.size(), candidate.size());
    const std::size_t distance = Distance(word, candidate);
    if (distance < least && distance <= (longer + 2) / 3) {
      least = distance;
      closest = candidate;
    }
  }
  return closest;
}

std::string DidYouMean(absl::string_view word,
                       const std::vector<std::string>& words) {
  const std::string closest = ClosestWord(word, words);
  return closest.empty() ? ""
                         : absl::StrCat(" (did you mean \"", closest, "\"?)");
}

}  // namespace rtpurbo
