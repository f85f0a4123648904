#include "trainer/evaluation/attended_keys.h"

#include <algorithm>

#include "kernels/attention_view.h"

namespace rtpurbo {

std::vector<Interval> RangeKeys(std::int64_t window, std::int64_t sinks,
                                std::int64_t i) {
  const std::int64_t begin = window >= i ? 0 : i - window;
  std::vector<Interval> keys;
  if (const std::int64_t end = std::min(sinks, begin); end > 0) {
    keys.push_back({0, end});
  }
  keys.push_back({begin, i + 1});
  return keys;
}

std::vector<Interval> MaskKeys(const std::int32_t* words, std::int64_t block,
                               std::int64_t i) {
  std::vector<Interval> keys;
  for (std::int64_t b = 0; b * block <= i; ++b) {
    if (kernels::AttentionView::BlockIsSet(words, b)) {
      keys.push_back({b * block, std::min((b + 1) * block, i + 1)});
    }
  }
  return keys;
}

std::int64_t NumKeysInUnion(std::vector<Interval> keys) {
  std::sort(keys.begin(), keys.end(), [](const Interval& a, const Interval& b) {
    return a.begin < b.begin;
  });
  std::int64_t count = 0;
  std::int64_t end = 0;
  for (const Interval& interval : keys) {
    count +=
        std::max<std::int64_t>(0, interval.end - std::max(interval.begin, end));
    end = std::max(end, interval.end);
  }
  return count;
}

}  // namespace rtpurbo
