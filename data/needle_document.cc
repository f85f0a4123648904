#include "data/needle_document.h"

#include <algorithm>
#include <bit>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kShortestNeedle = 8;
constexpr std::int64_t kLongestNeedle = 1024;
constexpr int kCandidates = 32;
constexpr int kMostDraws = 1024;

bool Overlap(const TokenWindow& a, const TokenWindow& b) {
  const auto end = [](const TokenWindow& window) {
    return window.begin + static_cast<std::int64_t>(window.tokens_T.size());
  };
  return a.document == b.document && a.begin < end(b) && b.begin < end(a);
}

// Tables, rules of dashes and other drawings repeat a few tokens; prose does
// not.
bool IsProse(const std::vector<std::int32_t>& tokens_T) {
  const std::set<std::int32_t> distinct(tokens_T.begin(), tokens_T.end());
  return 2 * distinct.size() >= tokens_T.size();
}

// Sum over the needle's tokens of about log2 of how often the text has them.
std::int64_t Commonness(
    const std::unordered_map<std::int32_t, std::uint64_t>& count_of_token,
    const std::vector<std::int32_t>& needle_T) {
  std::int64_t sum = 0;
  for (const std::int32_t token : needle_T) {
    const auto found = count_of_token.find(token);
    if (found != count_of_token.end()) {
      sum += static_cast<std::int64_t>(std::bit_width(found->second));
    }
  }
  return sum;
}

absl::StatusOr<std::vector<std::int32_t>> DrawNeedle(const TokenPool& pool,
                                                     const TokenWindow& text,
                                                     std::int64_t num_tokens,
                                                     Rng& rng) {
  std::unordered_map<std::int32_t, std::uint64_t> count_of_token;
  for (const std::int32_t token : text.tokens_T) {
    ++count_of_token[token];
  }
  std::vector<std::int32_t> best_T;
  std::pair<bool, std::int64_t> best = {true, 0};  // least: prose, then rare
  int found = 0;
  for (int i = 0; i < kMostDraws && found < kCandidates; ++i) {
    ASSIGN_OR_RETURN(TokenWindow window, pool.Draw(rng, num_tokens));
    if (Overlap(window, text)) {
      continue;
    }
    const std::pair<bool, std::int64_t> rank = {
        !IsProse(window.tokens_T), Commonness(count_of_token, window.tokens_T)};
    if (found == 0 || rank < best) {
      best = rank;
      best_T = std::move(window.tokens_T);
    }
    ++found;
  }
  if (found == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot make a calibration document: the ", StorePartName(pool.part()),
        " part of ", pool.store().path(), " has no ", num_tokens,
        " tokens besides the ", text.tokens_T.size(),
        " of the text; prepare more text, or ask for fewer tokens"));
  }
  return best_T;
}

}  // namespace

absl::StatusOr<NeedleDocument> MakeNeedleDocument(
    const TokenPool& pool, const NeedleDocumentOptions& options,
    std::uint64_t seed, std::uint64_t stream) {
  const std::int64_t needle = options.needle_tokens;
  const std::int64_t first = options.first_needle + 1;
  if (needle < kShortestNeedle || needle > kLongestNeedle) {
    return absl::InvalidArgumentError(
        absl::StrCat("a needle of ", needle, " tokens was asked for, but it ",
                     "must have ", kShortestNeedle, " to ", kLongestNeedle));
  }
  const std::int64_t length = options.num_tokens - 2 * needle;
  // The distance of the two must exceed what a windowed head sees.
  const std::int64_t room = length - first - (options.window + options.sinks);
  if (room < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot make a calibration document of ", options.num_tokens,
        " tokens: with a window of ", options.window, ", ", options.sinks,
        " sinks and a needle of ", needle, " tokens it takes at least ",
        options.num_tokens + 1 - room));
  }
  Rng rng(seed, stream);
  ASSIGN_OR_RETURN(const TokenWindow text, pool.Draw(rng, length));
  ASSIGN_OR_RETURN(const std::vector<std::int32_t> needle_T,
                   DrawNeedle(pool, text, needle, rng));
  const std::int64_t cut =
      first + rng.Below(std::clamp<std::int64_t>(length / 16, 1, room));
  NeedleDocument document;
  document.tokens_T = text.tokens_T;
  document.tokens_T.insert(document.tokens_T.begin() + cut, needle_T.begin(),
                           needle_T.end());
  document.tokens_T.insert(document.tokens_T.end(), needle_T.begin(),
                           needle_T.end());
  document.pre = {cut, cut + needle};
  document.post = {options.num_tokens - needle, options.num_tokens};
  return document;
}

}  // namespace rtpurbo
