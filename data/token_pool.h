// The training part, or the held-out part, of a token store, to draw from.

#ifndef RTPURBO_DATA_TOKEN_POOL_H_
#define RTPURBO_DATA_TOKEN_POOL_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/token_store.h"
#include "kernels/core/interval.h"
#include "kernels/core/rng.h"

namespace rtpurbo {

enum class StorePart : std::uint8_t { kTraining, kHeldOut };

// "training" or "held-out".
absl::string_view StorePartName(StorePart part);

// The tokens of the part that belong to one document.
struct TokenRun {
  std::int64_t document = 0;
  Interval tokens;  // of the document
};

// Neighbouring tokens of one run.
struct TokenWindow {
  std::int64_t document = 0;
  std::int64_t begin = 0;
  std::vector<std::int32_t> tokens_T;
};

// Any number of threads.
class TokenPool {
 public:
  // `store` must outlive it.
  TokenPool(const TokenStore& store, StorePart part);

  // In the order of documents; none is empty.
  const std::vector<TokenRun>& runs() const { return runs_; }
  const TokenStore& store() const { return *store_; }
  StorePart part() const { return part_; }
  std::int64_t longest_run() const;

  // Draws one of all windows of `num_tokens` tokens, each with the same chance.
  // REQUIRES: num_tokens >= 1.
  // Returns FailedPrecondition if no run is that long.
  absl::StatusOr<TokenWindow> Draw(Rng& rng, std::int64_t num_tokens) const;

  // FailedPrecondition, with what there is and what to do, if no run has
  // `num_tokens` tokens.
  absl::Status CheckLongEnough(std::int64_t num_tokens) const;

 private:
  const TokenStore* store_;
  StorePart part_;
  std::vector<TokenRun> runs_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TOKEN_POOL_H_
