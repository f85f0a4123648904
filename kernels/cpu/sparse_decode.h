// Attention over a cache written as the formula, one row and one key at a time:
// the definition that the split twin and the CUDA kernels are tested against.
//
// T query rows, H query heads, C width, N slots of a cached head.

#ifndef RTPURBO_KERNELS_CPU_SPARSE_DECODE_H_
#define RTPURBO_KERNELS_CPU_SPARSE_DECODE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/dtype.h"
#include "kernels/sparse_decode.h"

namespace rtpurbo::kernels::cpu {

// One cached key/value head.
template <typename T>
struct DecodeHead {
  const T* key_NC;
  const T* value_NC;
  std::int64_t slots;
  std::int64_t ring_sinks;  // -1: no ring, position n lies at slot n

  bool ring() const { return ring_sinks >= 0; }
  std::int64_t slot(std::int64_t position) const {
    return ring() ? RingSlot(position, ring_sinks, slots) : position;
  }
};

template <typename T>
struct DecodeArgs {
  const AttentionView& view;
  const T* q_THC;
  const DecodeHead<T>* heads_G;

  const DecodeHead<T>& head(std::int64_t h) const {
    return heads_G[view.kv_head_H[h]];
  }
};

// Writes o of row t of head h and returns its lse.
template <typename T>
Accum<T> DecodeRow(const DecodeArgs<T>& in, std::int64_t h, std::int64_t t,
                   T* o_C) {
  using A = Accum<T>;
  const std::int64_t C = in.view.C;
  const DecodeHead<T>& head = in.head(h);
  const T* q_C = in.q_THC + in.view.row(h, t);
  A max = -std::numeric_limits<A>::infinity();
  std::vector<A> scores;
  in.view.ForEachVisible(h, t, [&](std::int64_t j) {
    const T* k_C = head.key_NC + head.slot(j) * C;
    A score{};
    for (std::int64_t c = 0; c < C; ++c) {
      score += A(q_C[c]) * A(k_C[c]);
    }
    scores.push_back(A(in.view.scale) * score);
    max = std::max(max, scores.back());
  });
  A sum{};
  std::vector<A> av_C(static_cast<std::size_t>(C));
  auto score = scores.begin();
  in.view.ForEachVisible(h, t, [&](std::int64_t j) {
    const T* v_C = head.value_NC + head.slot(j) * C;
    const A a = std::exp(*score++ - max);
    sum += a;
    for (std::size_t c = 0; c < av_C.size(); ++c) {
      av_C[c] += a * A(v_C[c]);
    }
  });
  for (std::size_t c = 0; c < av_C.size(); ++c) {
    o_C[c] = T(scores.empty() ? A(0) : av_C[c] / sum);
  }
  return max + std::log(sum);
}

//   o_THC: as q.  lse_HT: in the type of sums.  Both overwritten.
template <typename T>
void SparseDecode(const DecodeArgs<T>& in, T* o_THC, Accum<T>* lse_HT) {
  for (std::int64_t h = 0; h < in.view.H; ++h) {
    for (std::int64_t t = 0; t < in.view.T; ++t) {
      lse_HT[h * in.view.T + t] =
          DecodeRow(in, h, t, o_THC + in.view.row(h, t));
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SPARSE_DECODE_H_
