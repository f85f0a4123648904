// Documents to find the heads that retrieve: a real text in which the same
// passage, the needle, occurs twice.
//
//   text [first_needle + 1 or more tokens]  needle (pre)  text ...  needle
//   (post)
//
// A head that copies looks from the second occurrence at the first. The first
// starts after token `first_needle`, so that what a head gives to the first
// tokens (the attention sinks) is not taken for retrieval; the second ends the
// document, further from the first than a windowed head sees.
//
// The needle is natural text from elsewhere, rare in this one: of 32 passages
// that do not overlap the text, the one whose tokens are least common in it.

#ifndef RTPURBO_DATA_NEEDLE_DOCUMENT_H_
#define RTPURBO_DATA_NEEDLE_DOCUMENT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "data/token_pool.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

struct NeedleDocument {
  std::vector<std::int32_t> tokens_T;
  Interval pre;  // the two occurrences, in tokens_T
  Interval post;
};

struct NeedleDocumentOptions {
  std::int64_t num_tokens = 0;      // of the whole document
  std::int64_t needle_tokens = 48;  // 8 to 1024
  std::int64_t window = 0;          // how far a windowed head looks back
  std::int64_t sinks = 4;           // and how many first tokens it sees
  std::int64_t first_needle = 64;
};

// The document of (seed, stream), a pure function of these and the pool.
// Returns InvalidArgument if needle_tokens is out of its range or num_tokens
// too few (and says how many it takes), FailedPrecondition if the pool has no
// text so long, or nothing besides it for a needle.
absl::StatusOr<NeedleDocument> MakeNeedleDocument(
    const TokenPool& pool, const NeedleDocumentOptions& options,
    std::uint64_t seed, std::uint64_t stream);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_NEEDLE_DOCUMENT_H_
