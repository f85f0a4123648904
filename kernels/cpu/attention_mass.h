// The share of a head's softmax mass that goes from some rows to some keys,
// written as the formula: the definition that the tiled twin and the CUDA
// kernel are tested against.
//
//   R_h = 1/|post| sum over t in post, j in pre of exp(scale q_t.k_j - lse_t)
//
// T query rows, N key rows, H query heads, G key/value heads, C width.

#ifndef RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_
#define RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_

#include <cmath>
#include <cstdint>

#include "kernels/attention_mass.h"
#include "kernels/attention_view.h"
#include "kernels/core/dtype.h"
#include "kernels/cpu/range_attention.h"

namespace rtpurbo::kernels::cpu {

template <typename T>
struct AttentionMassArgs {
  const AttentionView& view;  // of dense attention
  const T* q_THC;
  const T* k_NGC;
  const Accum<T>* lse_HT;
  RowRange post;  // rows of q
  RowRange pre;
};

template <typename T>
void AttentionMass(const AttentionMassArgs<T>& in, Accum<T>* mass_H) {
  using A = Accum<T>;
  using std::exp;
  const RangeAttentionArgs<T> rows = {in.view, in.q_THC, in.k_NGC, nullptr};
  const auto num_rows = static_cast<float>(in.post.end - in.post.begin);
  for (std::int64_t h = 0; h < in.view.H; ++h) {
    A sum{};
    for (std::int64_t t = in.post.begin; t < in.post.end; ++t) {
      for (std::int64_t j = in.pre.begin; j < in.pre.end; ++j) {
        sum +=
            exp(AttentionScore(rows, h, t, j) - in.lse_HT[h * in.view.T + t]);
      }
    }
    mass_H[h] = sum / A(num_rows);
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_ATTENTION_MASS_H_
