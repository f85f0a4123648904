// Random numbers as a function, not as a state: f(seed, stream, index). Nothing
// to save in a checkpoint, and any rank can compute any number.

#ifndef RTPURBO_KERNELS_CORE_RNG_H_
#define RTPURBO_KERNELS_CORE_RNG_H_

#include <cstdint>

namespace rtpurbo {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014, figure 15): every bit
// of the result depends on every bit of x.
constexpr std::uint64_t MixBits(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

// 64 uniform bits.
constexpr std::uint64_t RandomBits(std::uint64_t seed, std::uint64_t stream,
                                   std::uint64_t index) {
  return MixBits(MixBits(MixBits(seed) ^ stream) ^ index);
}

// A walk along one stream, for code that needs an unknown number of draws.
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t stream)
      : seed_(seed), stream_(stream) {}

  std::uint64_t Bits() { return RandomBits(seed_, stream_, index_++); }
  // Uniform in [0, n), without bias worth counting (n is far below 2^64).
  // REQUIRES: n >= 1.
  std::int64_t Below(std::int64_t n) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::int64_t>(
        (Wide(Bits()) * static_cast<std::uint64_t>(n)) >> 64U);
  }
  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Bits() >> 11U) * 0x1p-53; }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t index_ = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_RNG_H_
