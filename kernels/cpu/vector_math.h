// Inline arithmetic for the hot loops of the CPU kernels: exp without a call or
// a branch, sums and maxima over a fixed number of lanes, and the attribute
// that compiles a function once for each generation of x86.
//
// A loop over these vectorises at -O3 -fno-trapping-math, which is how the
// library of kernels is compiled. The order of a sum depends on its length
// alone, so results do not depend on who calls or with how many threads.

#ifndef RTPURBO_KERNELS_CPU_VECTOR_MATH_H_
#define RTPURBO_KERNELS_CPU_VECTOR_MATH_H_

#include <bit>
#include <cstdint>
#include <limits>

// Put before the definition of a plain function with a hot loop: the machine it
// runs on picks SSE2, AVX2 or AVX-512. Everything it calls must be inlined into
// it, so helpers and lambdas in it are RTPURBO_INLINE. Sanitizers run before
// the pick is made, and clang spells the levels otherwise.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RTPURBO_VECTOR_CLONES \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define RTPURBO_VECTOR_CLONES
#endif
#define RTPURBO_INLINE __attribute__((always_inline))

namespace rtpurbo::kernels::cpu {

// e^x with a relative error below 2e-7. Exactly 1 at 0 and 0 at -infinity; 0
// where e^x is below the smallest normal number, infinity where it overflows,
// NaN for NaN.
//
// x = n ln 2 + r with |r| <= ln(2) / 2. e^r is a polynomial whose coefficients
// minimise the largest relative error there (3e-9); 2^n is added to its
// exponent.
RTPURBO_INLINE inline float Exp(float x) {
  constexpr float kOverflow = 0x1.62e42ep6F;    // log of the largest number
  constexpr float kUnderflow = -0x1.5d589ep6F;  // log of the smallest normal
  constexpr float kLog2E = 0x1.715476p0F;
  constexpr float kLn2High = 0x1.62e4p-1F;  // 15 bits: times n is exact
  constexpr float kLn2Low = 0x1.7f7d1cp-20F;
  constexpr float kToInteger = 0x1.8p23F;  // sums have n in their low bits
  constexpr std::uint32_t kMantissaBits = 23;

  const float shifted = x * kLog2E + kToInteger;
  const float n = shifted - kToInteger;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  const float r2 = r * r;
  const float high = r * 1.38144670e-3F + 8.36878041e-3F;
  const float low = r * 4.16683942e-2F + 1.66665201e-1F;
  const float tail = (high * r2 + low) * r + 4.99999934e-1F;
  const float e_r = (tail * r2 + r) + 1.0F;
  const std::uint32_t bits =
      std::bit_cast<std::uint32_t>(e_r) +
      (std::bit_cast<std::uint32_t>(shifted) << kMantissaBits);

  const float infinite = x * std::numeric_limits<float>::infinity();
  const float y = x <= kOverflow ? std::bit_cast<float>(bits) : infinite;
  return x < kUnderflow ? 0.0F : y;
}

// Independent partial sums of a reduction.
inline constexpr std::int64_t kLanes = 16;

// fn(0) + ... + fn(n - 1); terms kLanes apart are added first.
template <typename Fn>
RTPURBO_INLINE inline float SumOver(std::int64_t n, Fn fn) {
  float lane[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lane[j] += fn(i + j);
    }
  }
  for (std::int64_t j = 0; i + j < n; ++j) {
    lane[j] += fn(i + j);
  }
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) {
      lane[j] += lane[j + width];
    }
  }
  return lane[0];
}

// The largest of fn(0), ..., fn(n - 1), passing over NaN; -infinity if there is
// none.
template <typename Fn>
RTPURBO_INLINE inline float MaxOver(std::int64_t n, Fn fn) {
  float lane[kLanes];
  for (float& value : lane) {
    value = -std::numeric_limits<float>::infinity();
  }
  const auto raise = [&](std::int64_t j, float value) RTPURBO_INLINE {
    lane[j] = value > lane[j] ? value : lane[j];
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      raise(j, fn(i + j));
    }
  }
  for (std::int64_t j = 0; i + j < n; ++j) {
    raise(j, fn(i + j));
  }
  for (std::int64_t j = 1; j < kLanes; ++j) {
    raise(0, lane[j]);
  }
  return lane[0];
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_VECTOR_MATH_H_
