#include "kernels/cpu/attention_tile_kernels.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A strip of kStripRows rows and the keys of a tile that one of them sees.
template <int kBytes>
struct Strip {
  static constexpr std::int64_t kWidth = Simd<kBytes>::kWidth;
  static constexpr std::int64_t kGroup = 2 * kWidth;  // keys of one product

  const std::uint64_t* row;
  std::uint64_t any = 0;
  std::int64_t begin = 0;  // the keys, cut to whole groups
  std::int64_t end = 0;
  bool full = true;  // all rows see all of [begin, end)

  RTPURBO_INLINE Strip(const TileSeen& seen, std::int64_t strip)
      : row(seen.row.data() + strip * kStripRows) {
    for (int r = 0; r < kStripRows; ++r) {
      any |= row[r];
    }
    if (any == 0) {
      return;
    }
    begin = std::countr_zero(any) / kGroup * kGroup;
    end = PadTo(kGroup, kTileKeys - std::countl_zero(any));
    const std::uint64_t all = ~std::uint64_t{0} >> (kTileKeys - end + begin)
                                                       << begin;
    for (int r = 0; r < kStripRows; ++r) {
      full = full && row[r] == all;
    }
  }
};

// The keys that some row sees.
std::uint64_t AnyOf(const TileSeen& seen) {
  std::uint64_t any = 0;
  for (const std::uint64_t row : seen.row) {
    any |= row;
  }
  return any;
}

// Calls fn(begin, end) for each run of set bits.
template <typename Fn>
RTPURBO_INLINE inline void ForEachRun(std::uint64_t bits, Fn fn) {
  std::int64_t at = 0;
  while (bits != 0) {
    const int gap = std::countr_zero(bits);
    bits >>= gap;
    const int run = std::countr_one(bits);
    fn(at + gap, at + gap + run);
    at += gap + run;
    bits = run == kTileKeys ? 0 : bits >> run;
  }
}

// z[r][begin, end) = a_PC b_CN of a strip, stride kTileKeys.
template <int kBytes>
RTPURBO_INLINE inline void Scores(const Strip<kBytes>& strip, const float* a_PC,
                                  const float* b_CN, std::int64_t C,
                                  std::int64_t width, float* z) {
  for (std::int64_t n = strip.begin; n < strip.end;
       n += Strip<kBytes>::kGroup) {
    Product<kBytes, kStripRows, 2, Start::kZero, false>(
        a_PC, width, b_CN + n * C, Strip<kBytes>::kGroup, C, nullptr, z + n,
        kTileKeys);
  }
}

// c_PC = start + w_PN b_NC over keys [begin, end) of a strip.
template <int kBytes, Start kStart>
RTPURBO_INLINE inline void WeighRun(const float* w_PN, const float* b_NC,
                                    std::int64_t begin, std::int64_t end,
                                    std::int64_t width, const float* alpha_P,
                                    float* c_PC) {
  constexpr std::int64_t kWidth = Simd<kBytes>::kWidth;
  const std::int64_t K = end - begin;
  std::int64_t c = 0;
  for (; c + 2 * kWidth <= width; c += 2 * kWidth) {
    Product<kBytes, kStripRows, 2, kStart, false>(
        w_PN + begin, kTileKeys, b_NC + c * kTileKeys + begin * 2 * kWidth,
        2 * kWidth, K, alpha_P, c_PC + c, width);
  }
  for (; c < width; c += kWidth) {
    Product<kBytes, kStripRows, 1, kStart, false>(
        w_PN + begin, kTileKeys, b_NC + c * kTileKeys + begin * kWidth, kWidth,
        K, alpha_P, c_PC + c, width);
  }
}

// c_PC += w_PN b_NC over the keys of a strip, after c_PC *= alpha_P if there
// is one.
template <int kBytes>
RTPURBO_INLINE inline void Weigh(const Strip<kBytes>& strip, const float* w_PN,
                                 const float* b_NC, std::int64_t width,
                                 const float* alpha_P, float* c_PC) {
  ForEachRun(strip.any,
             [&](std::int64_t begin, std::int64_t end) RTPURBO_INLINE {
               if (alpha_P != nullptr) {
                 WeighRun<kBytes, Start::kScale>(w_PN, b_NC, begin, end, width,
                                                 alpha_P, c_PC);
                 alpha_P = nullptr;
               } else {
                 WeighRun<kBytes, Start::kAdd>(w_PN, b_NC, begin, end, width,
                                               nullptr, c_PC);
               }
             });
}

// c_NC += w_PN^T a_PC for kRows keys and P rows.
template <int kBytes, int kRows>
RTPURBO_INLINE inline void ScatterKeys(const float* w_PN, const float* a_PC,
                                       std::int64_t P, std::int64_t width,
                                       float* c_NC) {
  constexpr std::int64_t kWidth = Simd<kBytes>::kWidth;
  std::int64_t c = 0;
  for (; c + 2 * kWidth <= width; c += 2 * kWidth) {
    Product<kBytes, kRows, 2, Start::kAdd, true>(
        w_PN, kTileKeys, a_PC + c, width, P, nullptr, c_NC + c, width);
  }
  for (; c < width; c += kWidth) {
    Product<kBytes, kRows, 1, Start::kAdd, true>(
        w_PN, kTileKeys, a_PC + c, width, P, nullptr, c_NC + c, width);
  }
}

// c_NC += w_PN^T a_PC over the keys that are set in `any`.
template <int kBytes>
RTPURBO_INLINE inline void Scatter(std::uint64_t any, const float* w_PN,
                                   const float* a_PC, std::int64_t P,
                                   std::int64_t width, float* c_NC) {
  constexpr int kRows = 4;
  ForEachRun(any, [&](std::int64_t n, std::int64_t end) RTPURBO_INLINE {
    for (; n + kRows <= end; n += kRows) {
      ScatterKeys<kBytes, kRows>(w_PN + n, a_PC, P, width, c_NC + n * width);
    }
    for (; n < end; ++n) {
      ScatterKeys<kBytes, 1>(w_PN + n, a_PC, P, width, c_NC + n * width);
    }
  });
}

// Sets what a row does not see to `hidden`.
template <int kBytes>
RTPURBO_INLINE inline void Hide(const Strip<kBytes>& strip, float hidden,
                                float* z) {
  using F = typename Simd<kBytes>::F;
  for (int r = 0; r < kStripRows && !strip.full; ++r) {
    for (std::int64_t n = strip.begin; n < strip.end;
         n += Simd<kBytes>::kWidth) {
      typename Simd<kBytes>::I lanes;
      Lanes<kBytes>(strip.row[r], n, &lanes);
      F z_n;
      Load(z + r * kTileKeys + n, &z_n);
      Store(lanes ? z_n : F{} + hidden, z + r * kTileKeys + n);
    }
  }
}

// The largest of m_P[r] and row r of z, passing over NaN.
template <int kBytes>
RTPURBO_INLINE inline float RowMax(const Strip<kBytes>& strip, const float* z,
                                   float m) {
  using F = typename Simd<kBytes>::F;
  F max = F{} + m;
  for (std::int64_t n = strip.begin; n < strip.end; n += Simd<kBytes>::kWidth) {
    F z_n;
    Load(z + n, &z_n);
    max = z_n > max ? z_n : max;
  }
  for (int i = 0; i < Simd<kBytes>::kWidth; ++i) {
    m = max[i] > m ? max[i] : m;
  }
  return m;
}

// z becomes 2^(z - m), and its sums are added to l.
template <int kBytes>
RTPURBO_INLINE inline void Weights(const Strip<kBytes>& strip, float m,
                                   float alpha, float* z, float* l_L) {
  using F = typename Simd<kBytes>::F;
  F sum;
  Load(l_L, &sum);
  sum *= alpha;
  for (std::int64_t n = strip.begin; n < strip.end; n += Simd<kBytes>::kWidth) {
    F w;
    Load(z + n, &w);
    w -= m;
    Exp2<kBytes>(&w);
    sum += w;
    Store(w, z + n);
  }
  Store(sum, l_L);
}

template <int kBytes>
RTPURBO_INLINE inline void ForwardTileFor(const ForwardTileArgs& args) {
  const std::int64_t width = PadTo(Simd<kBytes>::kWidth, args.C);
  alignas(64) float z[kStripRows * kTileKeys];
  alignas(64) float step[kMaxLanes] = {};
  alignas(64) float alpha[kMaxLanes];
  float m[kStripRows];
  for (std::int64_t s = 0; s < args.num_strips; ++s) {
    const Strip<kBytes> strip(args.seen, s);
    if (strip.any == 0) {
      continue;
    }
    const std::int64_t first = s * kStripRows;
    Scores<kBytes>(strip, args.q_PC + first * width, args.k_CN, args.C, width,
                   z);
    Hide<kBytes>(strip, -kInfinity, z);
    for (int r = 0; r < kStripRows; ++r) {
      const float before = args.m_P[first + r];
      const float max = RowMax<kBytes>(strip, z + r * kTileKeys, before);
      args.m_P[first + r] = max;
      m[r] = max == -kInfinity ? 0 : max;  // a row that has seen nothing yet
      step[r] = before - m[r];
    }
    for (int r = 0; r < kStripRows; r += Simd<kBytes>::kWidth) {
      typename Simd<kBytes>::F factor;
      Load(step + r, &factor);
      Exp2<kBytes>(&factor);
      Store(factor, alpha + r);
    }
    for (int r = 0; r < kStripRows; ++r) {
      Weights<kBytes>(strip, m[r], alpha[r], z + r * kTileKeys,
                      args.l_PL + (first + r) * kMaxLanes);
    }
    if (args.o_PC != nullptr) {
      Weigh<kBytes>(strip, z, args.v_NC, width, alpha,
                    args.o_PC + first * width);
    }
  }
}

// w holds z and becomes 2^(z - lse); ds holds do.v and becomes
// w (do.v - do.o). Both zero where a row does not see a key.
template <int kBytes>
RTPURBO_INLINE inline void WeightGradients(const Strip<kBytes>& strip, int r,
                                           float lse, float do_o, float* w,
                                           float* ds) {
  using F = typename Simd<kBytes>::F;
  for (std::int64_t n = strip.begin; n < strip.end; n += Simd<kBytes>::kWidth) {
    F w_n;
    F ds_n;
    Load(w + n, &w_n);
    Load(ds + n, &ds_n);
    w_n -= lse;
    Exp2<kBytes>(&w_n);
    ds_n = w_n * (ds_n - do_o);
    if (!strip.full) {
      typename Simd<kBytes>::I lanes;
      Lanes<kBytes>(strip.row[r], n, &lanes);
      w_n = lanes ? w_n : F{};
      ds_n = lanes ? ds_n : F{};
    }
    Store(w_n, w + n);
    Store(ds_n, ds + n);
  }
}

template <int kBytes>
RTPURBO_INLINE inline void BackwardTileFor(const BackwardTileArgs& args) {
  const std::int64_t width = PadTo(Simd<kBytes>::kWidth, args.C);
  alignas(64) float w[kPanelRows * kTileKeys];
  alignas(64) float ds[kPanelRows * kTileKeys];
  const std::uint64_t any = AnyOf(args.seen);
  for (std::int64_t s = 0; s < args.num_strips; ++s) {
    const Strip<kBytes> strip(args.seen, s);
    const std::int64_t first = s * kStripRows;
    float* w_PN = w + first * kTileKeys;
    float* ds_PN = ds + first * kTileKeys;
    if (strip.any != any) {
      std::fill(w_PN, w_PN + kStripRows * kTileKeys, 0.0F);
      std::fill(ds_PN, ds_PN + kStripRows * kTileKeys, 0.0F);
    }
    Scores<kBytes>(strip, args.q_PC + first * width, args.k_CN, args.C, width,
                   w_PN);
    Scores<kBytes>(strip, args.do_PC + first * width, args.v_CN, args.C, width,
                   ds_PN);
    for (int r = 0; r < kStripRows; ++r) {
      WeightGradients<kBytes>(strip, r, args.lse_P[first + r],
                              args.do_o_P[first + r], w_PN + r * kTileKeys,
                              ds_PN + r * kTileKeys);
    }
    if (args.dq_PC != nullptr) {
      Weigh<kBytes>(strip, ds_PN, args.k_NC, width, nullptr,
                    args.dq_PC + first * width);
    }
  }
  const std::int64_t P = args.num_strips * kStripRows;
  if (args.dv_NC != nullptr) {
    Scatter<kBytes>(any, w, args.do_PC, P, width, args.dv_NC);
  }
  if (args.dk_NC != nullptr) {
    Scatter<kBytes>(any, ds, args.q_PC, P, width, args.dk_NC);
  }
}

// z becomes 2^(z - lse_full), p the gradient of the KL with respect to p; both
// zero where a row does not see a key. The KL is added to kl.
template <int kBytes>
RTPURBO_INLINE inline void AlignmentRow(const Strip<kBytes>& strip, int r,
                                        float lse_full, float lse_proj,
                                        const float* z, float* p, float* kl_L) {
  using F = typename Simd<kBytes>::F;
  F kl;
  Load(kl_L, &kl);
  for (std::int64_t n = strip.begin; n < strip.end; n += Simd<kBytes>::kWidth) {
    F full;
    F proj;
    Load(z + n, &full);
    Load(p + n, &proj);
    full -= lse_full;
    proj -= lse_proj;
    F kl_n = full - proj;
    Exp2<kBytes>(&full);
    Exp2<kBytes>(&proj);
    kl_n *= full;
    F dp = proj - full;
    if (!strip.full) {
      typename Simd<kBytes>::I lanes;
      Lanes<kBytes>(strip.row[r], n, &lanes);
      kl_n = lanes ? kl_n : F{};
      dp = lanes ? dp : F{};
    }
    kl += kl_n;
    Store(dp, p + n);
  }
  Store(kl, kl_L);
}

template <int kBytes>
RTPURBO_INLINE inline void AlignmentTileFor(const AlignmentTileArgs& args) {
  const std::int64_t width_C = PadTo(Simd<kBytes>::kWidth, args.C);
  const std::int64_t width_R = PadTo(Simd<kBytes>::kWidth, args.R);
  alignas(64) float z[kStripRows * kTileKeys];
  alignas(64) float dp[kPanelRows * kTileKeys];
  const std::uint64_t any = AnyOf(args.seen);
  for (std::int64_t s = 0; s < args.num_strips; ++s) {
    const Strip<kBytes> strip(args.seen, s);
    const std::int64_t first = s * kStripRows;
    float* dp_PN = dp + first * kTileKeys;
    if (strip.any != any) {
      std::fill(dp_PN, dp_PN + kStripRows * kTileKeys, 0.0F);
    }
    Scores<kBytes>(strip, args.q_PC + first * width_C, args.k_CN, args.C,
                   width_C, z);
    Scores<kBytes>(strip, args.x_PR + first * width_R, args.y_RN, args.R,
                   width_R, dp_PN);
    for (int r = 0; r < kStripRows; ++r) {
      AlignmentRow<kBytes>(strip, r, args.lse_full_P[first + r],
                           args.lse_proj_P[first + r], z + r * kTileKeys,
                           dp_PN + r * kTileKeys,
                           args.kl_PL + (first + r) * kMaxLanes);
    }
    if (args.dx_PR != nullptr) {
      Weigh<kBytes>(strip, dp_PN, args.y_NR, width_R, nullptr,
                    args.dx_PR + first * width_R);
    }
  }
  if (args.dy_NR != nullptr) {
    Scatter<kBytes>(any, dp, args.x_PR, args.num_strips * kStripRows, width_R,
                    args.dy_NR);
  }
}

template <int kBytes>
RTPURBO_INLINE inline void MassTileFor(const MassTileArgs& args) {
  const std::int64_t width = PadTo(Simd<kBytes>::kWidth, args.C);
  alignas(64) float z[kStripRows * kTileKeys];
  for (std::int64_t s = 0; s < args.num_strips; ++s) {
    const Strip<kBytes> strip(args.seen, s);
    const std::int64_t first = s * kStripRows;
    Scores<kBytes>(strip, args.q_PC + first * width, args.k_CN, args.C, width,
                   z);
    Hide<kBytes>(strip, -kInfinity, z);
    for (int r = 0; r < kStripRows; ++r) {
      Weights<kBytes>(strip, args.lse_P[first + r], 1, z + r * kTileKeys,
                      args.mass_PL + (first + r) * kMaxLanes);
    }
  }
}

}  // namespace

RTPURBO_TILE_VERSIONS(ForwardTile, ForwardTileArgs)
RTPURBO_TILE_VERSIONS(BackwardTile, BackwardTileArgs)
RTPURBO_TILE_VERSIONS(AlignmentTile, AlignmentTileArgs)
RTPURBO_TILE_VERSIONS(MassTile, MassTileArgs)

}  // namespace rtpurbo::kernels::cpu
