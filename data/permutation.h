// A permutation as a function: where does i go, in an order that looks random?
// No table, so every rank can ask for any place of an order of any length.

#ifndef RTPURBO_DATA_PERMUTATION_H_
#define RTPURBO_DATA_PERMUTATION_H_

#include <bit>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/rng.h"

namespace rtpurbo {

// The image of i under the permutation of [0, n) that (seed, stream) names: a
// Feistel network of four rounds over the next power of four, walked on until
// it is back in the range (Black and Rogaway 2002, Ciphers with arbitrary
// finite domains). Less than 4 walks on average.
// REQUIRES: 0 <= i < n, n <= 2^62.
inline std::int64_t Permute(std::int64_t n, std::uint64_t seed,
                            std::uint64_t stream, std::int64_t i) {
  CHECK(i >= 0 && i < n) << i << " of " << n;
  const auto size = static_cast<std::uint64_t>(n);
  const int half_bits = (static_cast<int>(std::bit_width(size - 1)) + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  auto x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t left = x >> half_bits;
    std::uint64_t right = x & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t bits = RandomBits(seed, stream, round << 32U | right);
      const std::uint64_t next = left ^ (bits & mask);
      left = right;
      right = next;
    }
    x = left << half_bits | right;
  } while (x >= size);
  return static_cast<std::int64_t>(x);
}

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_PERMUTATION_H_
