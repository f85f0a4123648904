// Intervals and paired comparisons, so that no table shows a share without
// saying how sure it is.

#ifndef RTPURBO_TRAINER_EVALUATION_STATISTICS_H_
#define RTPURBO_TRAINER_EVALUATION_STATISTICS_H_

#include <cstdint>
#include <vector>

namespace rtpurbo {

struct Interval95 {
  double low = 0;
  double high = 0;
};

// Wilson's score interval of k successes in n trials (Wilson 1927), z = 1.96.
// [0, 1] if n = 0.
Interval95 WilsonInterval(std::int64_t k, std::int64_t n);

// Two-sided exact test of McNemar (1947): the chance that, of b + c pairs that
// differ, a split as uneven as (b, c) or more comes from a fair coin. 1 if no
// pair differs.
double McNemarExact(std::int64_t b, std::int64_t c);

// Mean of a[i] - b[i] and its standard error. The error is 0 for one pair.
struct PairedDifference {
  double mean = 0;
  double standard_error = 0;
  // The fall from a to b is beyond chance at 95 %: mean > 1.96 errors and > 0.
  bool falls() const { return mean > 0 && mean > 1.96 * standard_error; }
};
// REQUIRES: as many a as b, at least one.
PairedDifference Paired(const std::vector<double>& a,
                        const std::vector<double>& b);

double Mean(const std::vector<double>& values);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_STATISTICS_H_
