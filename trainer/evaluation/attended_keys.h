// Which keys a row attends, as intervals: what budgets are counted from.

#ifndef RTPURBO_TRAINER_EVALUATION_ATTENDED_KEYS_H_
#define RTPURBO_TRAINER_EVALUATION_ATTENDED_KEYS_H_

#include <cstdint>
#include <vector>

#include "kernels/core/interval.h"
#include "kernels/range_attention.h"

namespace rtpurbo {

// The keys of a row at position i of one document, of a head without a
// selection: [0, min(sinks, i + 1)) and [i - window, i]. Empty ones are left
// out, and they do not overlap.
std::vector<Interval> RangeKeys(std::int64_t window, std::int64_t sinks,
                                std::int64_t i);

// The keys up to i in the blocks whose bits are set.
std::vector<Interval> MaskKeys(const std::int32_t* words, std::int64_t block,
                               std::int64_t i);

// Keys in at least one of them.
std::int64_t NumKeysInUnion(std::vector<Interval> keys);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_ATTENDED_KEYS_H_
