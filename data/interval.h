// A half-open interval of integers, [begin, end): bytes, tokens or rows.

#ifndef RTPURBO_DATA_INTERVAL_H_
#define RTPURBO_DATA_INTERVAL_H_

#include <cstdint>

namespace rtpurbo {

struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
  bool operator==(const Interval&) const = default;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_INTERVAL_H_
