// Register-blocked products and exp2 on vectors, for kernels that work on tiles
// of 64 keys. Written once over the width of a vector; RTPURBO_TILE_VERSIONS
// compiles a kernel for SSE2, AVX2 and AVX-512 and picks one at run time.
//
// Everything here is inlined into the version that calls it, and only there has
// it the instructions of that version. (target_clones would keep one width for
// all of them.)

#ifndef RTPURBO_KERNELS_CPU_TILE_MATH_H_
#define RTPURBO_KERNELS_CPU_TILE_MATH_H_

#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {

inline constexpr std::int64_t kTileKeys = 64;
// Rows of a strip: 6 rows by 2 vectors of sums, 2 vectors of the right operand
// and one number of the left fill the 16 registers of SSE2 and AVX2.
inline constexpr std::int64_t kStripRows = 6;

// Floats in a vector of this machine: 4, 8 or 16. Columns of packed operands
// are padded to a multiple of it.
inline std::int64_t TileLanes() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  static const std::int64_t lanes = __builtin_cpu_supports("x86-64-v4")   ? 16
                                    : __builtin_cpu_supports("x86-64-v3") ? 8
                                                                          : 4;
  return lanes;
#else
  return 4;
#endif
}

// kBytes wide vectors of float.
template <int kBytes>
struct Simd {
  using F [[gnu::vector_size(kBytes)]] = float;
  using I [[gnu::vector_size(kBytes)]] = std::int32_t;
  using U [[gnu::vector_size(kBytes)]] = std::uint32_t;
  static constexpr std::int64_t kWidth = kBytes / 4;
};

template <typename V>
RTPURBO_INLINE inline void Load(const float* from, V* to) {
  std::memcpy(to, from, sizeof(V));
}
template <typename V>
RTPURBO_INLINE inline void Store(const V& from, float* to) {
  std::memcpy(to, &from, sizeof(V));
}

// x = 2^x with a relative error below 3e-7: exactly 1 at 0, exactly 0 below
// -126 (-infinity included), NaN for NaN, some number from 127 on (keys that a
// mask takes out afterwards may have such scores).
//
// x = n + f with |f| <= 1/2; 2^f by the polynomial of degree 5 with the least
// relative error among those that are 1 at 0.
template <int kBytes>
RTPURBO_INLINE inline void Exp2(typename Simd<kBytes>::F* x) {
  using F = typename Simd<kBytes>::F;
  using U = typename Simd<kBytes>::U;
  constexpr float kToInteger = 0x1.8p23F;  // sums have n in their low bits
  const F in = *x < -126.0F ? F{} - 127.0F : *x;
  const F shifted = in + kToInteger;
  const F f = in - (shifted - kToInteger);
  F y = f * 1.32647499e-3F + 9.67152062e-3F;
  y = y * f + 5.55073376e-2F;
  y = y * f + 2.40222420e-1F;
  y = y * f + 6.93146978e-1F;
  y = y * f + 1.0F;
  const U power = (__builtin_bit_cast(U, shifted) << 23U) + (127U << 23U);
  *x = y * __builtin_bit_cast(F, power);
}

// What a product adds to: nothing, c, or alpha c with one alpha a row.
enum class Start : std::uint8_t { kZero, kAdd, kScale };

template <int kBytes, int kRows, int kVectors>
struct Sums {
  using F = typename Simd<kBytes>::F;
  static constexpr std::int64_t kWidth = Simd<kBytes>::kWidth;

  template <Start kStart>
  RTPURBO_INLINE void Begin(const float* c, std::int64_t stride,
                            const float* alpha) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        of[r][v] = F{};
        if constexpr (kStart != Start::kZero) {
          Load(c + r * stride + v * kWidth, &of[r][v]);
        }
        if constexpr (kStart == Start::kScale) {
          of[r][v] *= alpha[r];
        }
      }
    }
  }
  RTPURBO_INLINE void End(float* c, std::int64_t stride) const {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        Store(of[r][v], c + r * stride + v * kWidth);
      }
    }
  }

  F of[kRows][kVectors];
};

// c = start + a b for kRows rows and kVectors vectors of columns. Sums are kept
// in registers, over k in order. With kTransposed, a is stored [k][row].
template <int kBytes, int kRows, int kVectors, Start kStart, bool kTransposed>
RTPURBO_INLINE inline void Product(const float* a, std::int64_t stride_a,
                                   const float* b, std::int64_t stride_b,
                                   std::int64_t K, const float* alpha, float* c,
                                   std::int64_t stride_c) {
  Sums<kBytes, kRows, kVectors> sums;
  sums.template Begin<kStart>(c, stride_c, alpha);
  for (std::int64_t k = 0; k < K; ++k) {
    typename Simd<kBytes>::F b_k[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Load(b + k * stride_b + v * Simd<kBytes>::kWidth, &b_k[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const float a_rk =
          kTransposed ? a[k * stride_a + r] : a[r * stride_a + k];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums.of[r][v] += a_rk * b_k[v];
      }
    }
  }
  sums.End(c, stride_c);
}

// Which lanes of a vector of keys a row sees: bit `first` of `seen` and those
// after it.
template <int kBytes>
RTPURBO_INLINE inline void Lanes(std::uint64_t seen, std::int64_t first,
                                 typename Simd<kBytes>::I* lanes) {
  using I = typename Simd<kBytes>::I;
  I bit = {};
  for (int i = 0; i < Simd<kBytes>::kWidth; ++i) {
    bit[i] = 1 << i;
  }
  *lanes = (static_cast<std::int32_t>(seen >> first & 0xffffU) & bit) != 0;
}

}  // namespace rtpurbo::kernels::cpu

// Defines Name(args) from the template NameFor<kBytes>(args), which must be
// inlined into it.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define RTPURBO_TILE_VERSIONS(Name, Args)                         \
  namespace {                                                     \
  void Name##Sse2(const Args& args) {                             \
    Name##For<16>(args);                                          \
  }                                                               \
  __attribute__((target("arch=x86-64-v3"))) void Name##Avx2(      \
      const Args& args) {                                         \
    Name##For<32>(args);                                          \
  }                                                               \
  __attribute__((target("arch=x86-64-v4"))) void Name##Avx512(    \
      const Args& args) {                                         \
    Name##For<64>(args);                                          \
  }                                                               \
  }                                                               \
  void Name(const Args& args) {                                   \
    static const auto kernel = TileLanes() == 16  ? &Name##Avx512 \
                               : TileLanes() == 8 ? &Name##Avx2   \
                                                  : &Name##Sse2;  \
    kernel(args);                                                 \
  }
#else
#define RTPURBO_TILE_VERSIONS(Name, Args) \
  void Name(const Args& args) {           \
    Name##For<16>(args);                  \
  }
#endif

#endif  // RTPURBO_KERNELS_CPU_TILE_MATH_H_
