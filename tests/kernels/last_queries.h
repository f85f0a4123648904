// Statistics of the queries that an operator is asked for: the last ones.

#ifndef RTPURBO_TESTS_KERNELS_LAST_QUERIES_H_
#define RTPURBO_TESTS_KERNELS_LAST_QUERIES_H_

#include <cstdint>
#include <vector>

namespace rtpurbo::testing {

// Of lse_HT, the queries from `begin` on: [H, T - begin].
inline std::vector<float> LastLse(const std::vector<float>& lse_HT,
                                  std::int64_t H, std::int64_t T,
                                  std::int64_t begin) {
  std::vector<float> last;
  for (std::int64_t h = 0; h < H; ++h) {
    last.insert(last.end(), lse_HT.begin() + h * T + begin,
                lse_HT.begin() + (h + 1) * T);
  }
  return last;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_LAST_QUERIES_H_
