// A half-open interval of integers, [begin, end): bytes, tokens or rows.

#ifndef RTPURBO_KERNELS_CORE_INTERVAL_H_
#define RTPURBO_KERNELS_CORE_INTERVAL_H_

#include <algorithm>
#include <cstdint>

namespace rtpurbo {

struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
  bool operator==(const Interval&) const = default;
};

// What lies in both; empty if nothing does.
inline Interval Intersect(const Interval& a, const Interval& b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_INTERVAL_H_
