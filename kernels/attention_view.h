// An AttentionPattern as plain numbers and host pointers: what the attention
// operators of the CPU loop over, and the one place that says which keys a row
// sees.
//
// T query rows, N key rows, H query heads, G key/value heads, C width, S slots
// of selections, M rows that have one.

#ifndef RTPURBO_KERNELS_ATTENTION_VIEW_H_
#define RTPURBO_KERNELS_ATTENTION_VIEW_H_

#include <algorithm>
#include <cstdint>

#include "kernels/range_attention.h"

namespace rtpurbo::kernels {

struct AttentionView {
  std::int64_t T = 0;
  std::int64_t N = 0;
  std::int64_t H = 0;
  std::int64_t G = 0;
  std::int64_t C = 0;
  std::int64_t query_begin = 0;
  float scale = 1;
  std::int64_t sinks = 0;
  const std::int64_t* window_H = nullptr;
  const std::int32_t* kv_head_H = nullptr;
  const std::int32_t* document_N = nullptr;  // null: one document
  const std::int32_t* slot_H = nullptr;      // null: no head has one
  const std::int32_t* selected_SMB = nullptr;
  std::int64_t selected_rows = 0;  // M
  std::int64_t mask_words = 0;
  std::int64_t block = 64;

  // First position of the document of position i.
  std::int64_t document(std::int64_t i) const {
    return document_N == nullptr ? 0 : document_N[i];
  }
  // The bits of row t for head h, one a block of keys; null if sinks and
  // window say what the row sees.
  const std::int32_t* mask(std::int64_t h, std::int64_t t) const {
    const std::int64_t row = t - (T - selected_rows);
    if (slot_H == nullptr || slot_H[h] < 0 || row < 0) {
      return nullptr;
    }
    return selected_SMB + (slot_H[h] * selected_rows + row) * mask_words;
  }
  // Whether key j is visible to query row t of head h.
  bool visible(std::int64_t h, std::int64_t t, std::int64_t j) const {
    const std::int64_t i = query_begin + t;
    const std::int64_t d = document(i);
    if (j < d || j > i) {
      return false;
    }
    if (const std::int32_t* bits = mask(h, t); bits != nullptr) {
      return BlockIsSet(bits, j / block);
    }
    return i - j <= window_H[h] || j - d < sinks;
  }
  // Calls fn(j) for each key that row t of head h sees, in order.
  template <typename Fn>
  void ForEachVisible(std::int64_t h, std::int64_t t, Fn fn) const {
    for (std::int64_t j = 0; j < N; ++j) {
      if (visible(h, t, j)) {
        fn(j);
      }
    }
  }

  // Offsets of row t of query head h in [T, H, C], and of row j of the
  // key/value head that h reads in [N, G, C].
  std::int64_t row(std::int64_t h, std::int64_t t) const {
    return (t * H + h) * C;
  }
  std::int64_t key(std::int64_t h, std::int64_t j) const {
    return (j * G + kv_head_H[h]) * C;
  }

  static bool BlockIsSet(const std::int32_t* bits, std::int64_t b) {
    const auto word = static_cast<std::uint32_t>(bits[b / 32]);
    return (word >> static_cast<unsigned>(b % 32) & 1U) != 0;
  }
};

// The same scale, map and documents, with every head dense and none selected:
// what is left for operators that do not read windows.
AttentionPattern DensePattern(const AttentionPattern& pattern,
                              std::int64_t num_heads);

// Checks the pattern against the sizes and returns a view that lives as long
// as the pattern does.
//   q: [T, H, C]; keys: G heads of N rows.
//   documents_on_host: false on CUDA, where the entries of document_N cannot be
//     looked at.
// REQUIRES: one entry per head in window_H, kv_head_H and slot_H
// (or none in the last), each in range; 0 <= document_N[i] <= i; as many mask
// words as MaskWords() says; N >= query_begin + T.
AttentionView ViewOf(const AttentionPattern& pattern, const Tensor& q_THC,
                     std::int64_t N, std::int64_t G, std::int64_t query_begin,
                     bool documents_on_host = true);
// The same for keys k: [N, G, C].
AttentionView ViewOf(const AttentionPattern& pattern, const Tensor& q_THC,
                     const Tensor& k_NGC, std::int64_t query_begin,
                     bool documents_on_host = true);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ATTENTION_VIEW_H_
