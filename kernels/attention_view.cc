#include "kernels/attention_view.h"

#include "kernels/core/check.h"

namespace rtpurbo::kernels {
namespace {

std::int64_t SizeOfList(const auto& list) {
  return static_cast<std::int64_t>(list.size());
}

void CheckHeads(const AttentionPattern& pattern, std::int64_t H,
                std::int64_t G) {
  CHECK_LE(0, pattern.sinks);
  CHECK_EQ(SizeOfList(pattern.window_H), H) << "one window per query head";
  CHECK_EQ(SizeOfList(pattern.kv_head_H), H) << "one kv head per query head";
  for (std::size_t h = 0; h < pattern.window_H.size(); ++h) {
    CHECK_LE(0, pattern.window_H[h]) << "window of head " << h;
    CHECK_LE(0, pattern.kv_head_H[h]) << "kv head of head " << h;
    CHECK_LT(pattern.kv_head_H[h], G) << "kv head of head " << h;
  }
}

void CheckSelection(const AttentionPattern& pattern, std::int64_t T,
                    std::int64_t N, std::int64_t H) {
  std::int64_t slots = 0;
  if (pattern.selected_SMB.defined()) {
    CHECK_LE(1, pattern.block);
    slots = pattern.selected_SMB.dim(0);
    CHECK_EQ(
        pattern.selected_SMB.shape(),
        (Shape{slots, pattern.selected_rows(), MaskWords(N, pattern.block)}));
    CHECK_LE(pattern.selected_rows(), T) << "more rows selected than there are";
  }
  if (!pattern.slot_H.empty()) {
    CHECK_EQ(SizeOfList(pattern.slot_H), H) << "one slot per query head";
    for (const std::int32_t slot : pattern.slot_H) {
      CHECK_LE(-1, slot);
      CHECK(slot < slots || !pattern.selected_SMB.defined())
          << "slot " << slot << " of " << slots;
    }
  }
}

}  // namespace

AttentionPattern DensePattern(const AttentionPattern& pattern,
                              std::int64_t num_heads) {
  AttentionPattern dense;
  dense.scale = pattern.scale;
  dense.kv_head_H = pattern.kv_head_H;
  dense.document_N = pattern.document_N;
  dense.window_H.assign(static_cast<std::size_t>(num_heads),
                        AttentionPattern::kDense);
  return dense;
}

AttentionView ViewOf(const AttentionPattern& pattern, const Tensor& q_THC,
                     std::int64_t N, std::int64_t G, std::int64_t query_begin,
                     bool documents_on_host) {
  AttentionView view{.T = q_THC.dim(0),
                     .N = N,
                     .H = q_THC.dim(1),
                     .G = G,
                     .C = q_THC.dim(2),
                     .query_begin = query_begin,
                     .scale = pattern.scale,
                     .window_H = pattern.window_H.data(),
                     .kv_head_H = pattern.kv_head_H.data()};
  CHECK_LE(0, query_begin);
  CHECK_LE(query_begin + view.T, view.N) << "query rows after the last key";
  CheckHeads(pattern, view.H, view.G);
  CheckSelection(pattern, view.T, view.N, view.H);
  view.sinks = std::min(pattern.sinks, view.N);
  if (pattern.document_N.defined()) {
    CHECK_EQ(pattern.document_N.shape(), Shape{view.N});
    view.document_N = pattern.document_N.data<std::int32_t>();
    for (std::int64_t i = 0; documents_on_host && i < view.N; ++i) {
      CHECK(0 <= view.document_N[i] && view.document_N[i] <= i)
          << "position " << i << " in a document that starts at "
          << view.document_N[i];
    }
  }
  if (pattern.selected_rows() > 0 && !pattern.slot_H.empty()) {
    view.selected_SMB = pattern.selected_SMB.data<std::int32_t>();
    view.slot_H = pattern.slot_H.data();
    view.selected_rows = pattern.selected_rows();
    view.mask_words = pattern.selected_SMB.dim(2);
    view.block = pattern.block;
  }
  return view;
}

AttentionView ViewOf(const AttentionPattern& pattern, const Tensor& q_THC,
                     const Tensor& k_NGC, std::int64_t query_begin,
                     bool documents_on_host) {
  CHECK_EQ(k_NGC.dim(2), q_THC.dim(2)) << "q and k differ in width";
  return ViewOf(pattern, q_THC, k_NGC.dim(0), k_NGC.dim(1), query_begin,
                documents_on_host);
}

}  // namespace rtpurbo::kernels
