#include "data/token_pool.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::string_view StorePartName(StorePart part) {
  return part == StorePart::kTraining ? "training" : "held-out";
}

TokenPool::TokenPool(const TokenStore& store, StorePart part)
    : store_(&store), part_(part) {
  for (std::int64_t i = 0; i < store.num_documents(); ++i) {
    const TokenDocumentInfo& info = store.document(i);
    const Interval& tokens =
        part == StorePart::kTraining ? info.training : info.held_out;
    if (!tokens.empty()) {
      runs_.push_back({i, tokens});
    }
  }
}

std::int64_t TokenPool::longest_run() const {
  std::int64_t longest = 0;
  for (const TokenRun& run : runs_) {
    longest = std::max(longest, run.tokens.size());
  }
  return longest;
}

absl::Status TokenPool::CheckLongEnough(std::int64_t num_tokens) const {
  const std::int64_t longest = longest_run();
  if (longest >= num_tokens) {
    return absl::OkStatus();
  }
  const HeldOutRule& rule = store_->held_out_rule();
  return absl::FailedPreconditionError(absl::StrCat(
      "the ", StorePartName(part_), " part of ", store_->path(),
      " is too short: ", num_tokens, " tokens in a row are needed, but its ",
      "longest document has ", longest,
      part_ == StorePart::kHeldOut
          ? absl::StrCat(" there (held out is 1/", rule.one_in,
                         " of each document of ", rule.long_document,
                         " tokens or more, and 1 in ", rule.one_in,
                         " of the shorter ones)")
          : std::string(),
      "; prepare longer documents, or ask for fewer tokens"));
}

absl::StatusOr<TokenWindow> TokenPool::Draw(Rng& rng,
                                            std::int64_t num_tokens) const {
  CHECK_LE(1, num_tokens);
  RETURN_IF_ERROR(CheckLongEnough(num_tokens));
  const auto num_windows = [&](const TokenRun& run) {
    return std::max<std::int64_t>(run.tokens.size() - num_tokens + 1, 0);
  };
  std::int64_t total = 0;
  for (const TokenRun& run : runs_) {
    total += num_windows(run);
  }
  std::int64_t left = rng.Below(total);
  const TokenRun* run = runs_.data();
  for (; left >= num_windows(*run); ++run) {
    left -= num_windows(*run);
  }
  const std::int64_t begin = run->tokens.begin + left;
  ASSIGN_OR_RETURN(std::vector<std::int32_t> tokens_T,
                   store_->Read(run->document, {begin, begin + num_tokens}));
  return TokenWindow{run->document, begin, std::move(tokens_T)};
}

}  // namespace rtpurbo
