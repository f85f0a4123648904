// KL from exact attention rows to projected ones, written as the formula, one
// row and one key at a time: the definition that the tiled twin and the CUDA
// kernels are tested against. T may be float, BFloat16, or
// std::complex<double>, with which tests check the gradients to machine
// precision.
//
//   z(n) = scale q.k_n,  p(n) = scale x.y_n,  n in [d(i), i]
//   a_full(n) = exp(z(n) - lse_full),  a_proj(n) = exp(p(n) - lse_proj)
//   KL = sum_n a_full(n) (z(n) - lse_full - p(n) + lse_proj)
//   dKL/dp(n) = a_proj(n) - a_full(n)      as a_full sums to one
//
// T query rows, N key rows, H query heads, G key/value heads, C width, S
// retrieval heads, M rows of each that are used, R width of the projections.

#ifndef RTPURBO_KERNELS_CPU_ALIGNMENT_KL_H_
#define RTPURBO_KERNELS_CPU_ALIGNMENT_KL_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>

#include "kernels/attention_view.h"
#include "kernels/core/dtype.h"
#include "kernels/cpu/range_attention.h"

namespace rtpurbo::kernels::cpu {

template <typename T>
struct AlignmentArgs {
  const AttentionView& view;  // of dense attention
  const T* q_THC;
  const T* k_NGC;
  const Accum<T>* lse_HT;
  const Accum<T>* x_MSR;
  const Accum<T>* y_NSR;
  const std::int32_t* row_M;
  const std::int32_t* head_S;
  std::int64_t M;
  std::int64_t S;
  std::int64_t R;

  const Accum<T>* x(std::int64_t m, std::int64_t s) const {
    return x_MSR + (m * S + s) * R;
  }
  const Accum<T>* y(std::int64_t n, std::int64_t s) const {
    return y_NSR + (n * S + s) * R;
  }
  Accum<T> projected(std::int64_t m, std::int64_t s, std::int64_t n) const {
    return Accum<T>(view.scale) * DotC(x(m, s), y(n, s), R);
  }
};

// log sum_n exp(p(n)).
template <typename T>
Accum<T> ProjectedLse(const AlignmentArgs<T>& in, std::int64_t m,
                      std::int64_t s) {
  using A = Accum<T>;
  using std::exp;
  using std::log;
  const std::int64_t i = in.row_M[m];
  auto max = -std::numeric_limits<decltype(std::real(A()))>::infinity();
  for (std::int64_t n = in.view.document(i); n <= i; ++n) {
    max = std::max(max, std::real(in.projected(m, s, n)));
  }
  A sum{};
  for (std::int64_t n = in.view.document(i); n <= i; ++n) {
    sum += exp(in.projected(m, s, n) - A(max));
  }
  return A(max) + log(sum);
}

// The KL of row m of head s. Adds the gradients of `grad_scale` times it.
template <typename T>
Accum<T> RowAlignmentKl(const AlignmentArgs<T>& in, std::int64_t m,
                        std::int64_t s, float grad_scale, Accum<T>* dx_R,
                        Accum<T>* dy_NSR) {
  using A = Accum<T>;
  using std::exp;
  const std::int64_t i = in.row_M[m];
  const std::int64_t t = i - in.view.query_begin;
  const std::int64_t h = in.head_S[s];
  const A lse_full = in.lse_HT[h * in.view.T + t];
  const A lse_proj = ProjectedLse(in, m, s);
  A kl{};
  for (std::int64_t n = in.view.document(i); n <= i; ++n) {
    const A log_full =
        AttentionScore<T>({in.view, in.q_THC, in.k_NGC, nullptr}, h, t, n) -
        lse_full;
    const A log_proj = in.projected(m, s, n) - lse_proj;
    kl += exp(log_full) * (log_full - log_proj);
    const A dp = A(grad_scale) * (exp(log_proj) - exp(log_full));
    for (std::int64_t r = 0; r < in.R; ++r) {
      dx_R[r] += A(in.view.scale) * dp * in.y(n, s)[r];
      dy_NSR[(n * in.S + s) * in.R + r] +=
          A(in.view.scale) * dp * in.x(m, s)[r];
    }
  }
  return kl;
}

//   kl_SM, dx_MSR, dy_NSR: in the type of sums, overwritten.
template <typename T>
void AlignmentKl(const AlignmentArgs<T>& in, float grad_scale, Accum<T>* kl_SM,
                 Accum<T>* dx_MSR, Accum<T>* dy_NSR) {
  std::fill(dx_MSR, dx_MSR + in.M * in.S * in.R, Accum<T>{});
  std::fill(dy_NSR, dy_NSR + in.view.N * in.S * in.R, Accum<T>{});
  for (std::int64_t s = 0; s < in.S; ++s) {
    for (std::int64_t m = 0; m < in.M; ++m) {
      kl_SM[s * in.M + m] = RowAlignmentKl(
          in, m, s, grad_scale, dx_MSR + (m * in.S + s) * in.R, dy_NSR);
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ALIGNMENT_KL_H_
