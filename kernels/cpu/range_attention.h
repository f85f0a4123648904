// Range attention written as the formula, one row and one key at a time: the
// definition that the tiled twin and the CUDA kernels are tested against. T may
// be float, BFloat16 or std::complex<double>, with which tests check the
// backward pass to machine precision.
//
//   o_i = sum_j a_ij v_j,   a_ij = exp(s_ij - lse_i),   s_ij = scale q_i.k_j
//   lse_i = log sum_j exp(s_ij)                over the keys j that row i sees
//
// T query rows, N key rows, H query heads, G key/value heads, C width.

#ifndef RTPURBO_KERNELS_CPU_RANGE_ATTENTION_H_
#define RTPURBO_KERNELS_CPU_RANGE_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

template <typename T>
struct RangeAttentionArgs {
  const AttentionView& view;
  const T* q_THC;
  const T* k_NGC;
  const T* v_NGC;
};

template <typename T>
Accum<T> DotC(const T* a_C, const T* b_C, std::int64_t C) {
  Accum<T> sum{};
  for (std::int64_t c = 0; c < C; ++c) {
    sum += Accum<T>(a_C[c]) * Accum<T>(b_C[c]);
  }
  return sum;
}

// s_ij, with i the position of query row t.
template <typename T>
Accum<T> AttentionScore(const RangeAttentionArgs<T>& in, std::int64_t h,
                        std::int64_t t, std::int64_t j) {
  return Accum<T>(in.view.scale) * DotC(in.q_THC + in.view.row(h, t),
                                        in.k_NGC + in.view.key(h, j),
                                        in.view.C);
}

// Writes o of one row and returns its lse.
template <typename T>
Accum<T> AttentionRow(const RangeAttentionArgs<T>& in, std::int64_t h,
                      std::int64_t t, T* o_C) {
  using A = Accum<T>;
  using std::exp;
  using std::log;
  // The largest score is taken off, so that no exp overflows.
  auto max = -std::numeric_limits<decltype(std::real(A()))>::infinity();
  in.view.ForEachVisible(h, t, [&](std::int64_t j) {
    max = std::max(max, std::real(AttentionScore(in, h, t, j)));
  });
  A sum{};
  std::vector<A> av_C(static_cast<std::size_t>(in.view.C));
  in.view.ForEachVisible(h, t, [&](std::int64_t j) {
    const A a = exp(AttentionScore(in, h, t, j) - A(max));
    const T* v_C = in.v_NGC + in.view.key(h, j);
    sum += a;
    for (std::size_t c = 0; c < av_C.size(); ++c) {
      av_C[c] += a * A(v_C[c]);
    }
  });
  const bool sees_none = sum == A(0);
  for (std::size_t c = 0; c < av_C.size(); ++c) {
    o_C[c] = T(sees_none ? A(0) : av_C[c] / sum);
  }
  return sees_none ? A(max) : A(max) + log(sum);
}

//   o_THC: as q.  lse_HT: in the type of sums.  Both overwritten.
template <typename T>
void RangeAttentionForward(const RangeAttentionArgs<T>& in, T* o_THC,
                           Accum<T>* lse_HT) {
  const AttentionView& view = in.view;
  for (std::int64_t h = 0; h < view.H; ++h) {
    for (std::int64_t t = 0; t < view.T; ++t) {
      lse_HT[h * view.T + t] =
          AttentionRow(in, h, t, o_THC + in.view.row(h, t));
    }
  }
}

template <typename T>
struct RangeAttentionSaved {
  const T* o_THC;
  const Accum<T>* lse_HT;
  const T* do_THC;
};

//   ds_ij = a_ij (do_i.v_j - do_i.o_i)
// Adds the sums of one row, before they are multiplied by scale and rounded.
template <typename T, typename A = Accum<T>>
void AddRowGradients(const RangeAttentionArgs<T>& in,
                     const RangeAttentionSaved<T>& saved, std::int64_t h,
                     std::int64_t t, A* dq_THC, A* dk_NGC, A* dv_NGC) {
  using std::exp;
  const std::int64_t row = in.view.row(h, t);
  const T* do_C = saved.do_THC + row;
  const A lse = saved.lse_HT[h * in.view.T + t];
  const A do_o = DotC(do_C, saved.o_THC + row, in.view.C);
  in.view.ForEachVisible(h, t, [&](std::int64_t j) {
    const std::int64_t key = in.view.key(h, j);
    const A a = exp(AttentionScore(in, h, t, j) - lse);
    const A ds = a * (DotC(do_C, in.v_NGC + key, in.view.C) - do_o);
    for (std::int64_t c = 0; c < in.view.C; ++c) {
      dq_THC[row + c] += ds * A(in.k_NGC[key + c]);
      dk_NGC[key + c] += ds * A(in.q_THC[row + c]);
      dv_NGC[key + c] += a * A(do_C[c]);
    }
  });
}

template <typename T>
void RoundTimes(Accum<T> scale, const std::vector<Accum<T>>& sums, T* out) {
  for (std::size_t i = 0; i < sums.size() && out != nullptr; ++i) {
    out[i] = T(scale * sums[i]);
  }
}

// Overwrites dq, dk and dv; null is not computed.
//   dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i,
//   dv_j = sum_i a_ij do_i.
template <typename T>
void RangeAttentionBackward(const RangeAttentionArgs<T>& in,
                            const RangeAttentionSaved<T>& saved, T* dq_THC,
                            T* dk_NGC, T* dv_NGC) {
  using A = Accum<T>;
  const AttentionView& view = in.view;
  const auto num_queries = static_cast<std::size_t>(view.T * view.H * view.C);
  const auto num_keys = static_cast<std::size_t>(view.N * view.G * view.C);
  std::vector<A> dq(num_queries);
  std::vector<A> dk(num_keys);
  std::vector<A> dv(num_keys);
  for (std::int64_t h = 0; h < view.H; ++h) {
    for (std::int64_t t = 0; t < view.T; ++t) {
      AddRowGradients(in, saved, h, t, dq.data(), dk.data(), dv.data());
    }
  }
  RoundTimes<T>(A(view.scale), dq, dq_THC);
  RoundTimes<T>(A(view.scale), dk, dk_NGC);
  RoundTimes<T>(A(1), dv, dv_NGC);
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_RANGE_ATTENTION_H_
