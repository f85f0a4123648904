// What decoding keeps of a sequence: keys and values of every key/value head,
// and the projected keys of retrieval heads.
//
// Caches are per key/value head, locality is per query head. A head whose query
// heads are all local is a ring of a fixed number of slots: it holds the sinks
// and the last positions, whatever the length. Any other head is kept whole and
// grows by doubling. So memory follows from the map, not from the share of
// heads that retrieve.
//
// Bytes, with rows(n) = the smallest 256 * 2^k >= n, and 0 for n = 0:
//   a whole head    2 * rows(length) * C * bytes of the type
//   a ring          2 * min(ring_slots, rows(length)) * C * bytes of the type
//   a layer's projected keys    rows(length) * S * R * 4

#ifndef RTPURBO_MODEL_KV_CACHE_H_
#define RTPURBO_MODEL_KV_CACHE_H_

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"
#include "kernels/sparse_decode.h"
#include "model/model_config.h"
#include "model/sparse_mode.h"

namespace rtpurbo {

struct CacheLayout {
  struct Layer {
    std::vector<bool> ring_G;
    std::int64_t num_projected = 0;  // S, retrieval heads with a projection
  };
  std::vector<Layer> layers;
  std::int64_t head_width = 0;  // C
  DType dtype = DType::kF32;
  std::int64_t sinks = 0;             // of a ring
  std::int64_t ring_slots = 0;        // of a ring
  std::int64_t projection_width = 0;  // R
};

// Rings hold max(dense_below, sinks + window + max_new_rows) slots, so that a
// sequence up to dense_below loses nothing, and a longer one nothing that its
// next max_new_rows rows see.
CacheLayout LayoutOf(const ModelConfig& config, const SparseMode& mode,
                     DType dtype, std::int64_t max_new_rows);

// Bytes that a KvCache of `length` positions holds.
std::int64_t CacheBytes(const CacheLayout& layout, std::int64_t length);

// What `length` positions need, without the slack of growing by doubling.
struct CacheNeed {
  std::int64_t keys_and_values = 0;  // bytes
  std::int64_t projected = 0;
  std::int64_t dense = 0;  // if every head were kept whole
  // Share of the dense cache's bytes that is not needed; negative if the
  // projected keys cost more than the rings save.
  double saved() const {
    return dense == 0 ? 0
                      : 1 - static_cast<double>(keys_and_values + projected) /
                                static_cast<double>(dense);
  }
};
CacheNeed NeedOf(const CacheLayout& layout, std::int64_t length);

// One sequence. Not thread-safe. Memory counts as "kv_cache".
class KvCache {
 public:
  KvCache(const ExecContext& ctx, CacheLayout layout);
  KvCache(KvCache&&) = default;
  // A copy that shares nothing: one prefill serves several continuations.
  KvCache Clone() const;

  // Writes the next T positions of a layer. Rows that a ring has dropped by
  // then are not kept, also if T is more than the ring holds.
  //   k_TGC, v_TGC: [T, G, C] of the layout's type, keys after rotation.
  //   y_TSR: [T, S, R] f32, projected keys; undefined if the layer has none.
  void Append(std::int64_t layer, const Tensor& k_TGC, const Tensor& v_TGC,
              const Tensor& y_TSR);

  const CacheLayout& layout() const { return layout_; }
  // Positions written to a layer. All layers have as many between two tokens.
  std::int64_t length(std::int64_t layer) const { return at(layer).length; }
  // Views of the bytes, valid until the next Append to the layer.
  kernels::CacheView View(std::int64_t layer) const;
  // [length, S, R] f32; undefined if the layer has none.
  Tensor Projected(std::int64_t layer) const;
  // Of all layers. Equals CacheBytes() when they are of one length.
  std::int64_t bytes() const;

 private:
  struct Layer {
    std::int64_t length = 0;
    std::vector<kernels::CacheView::Head> heads_G;
    Tensor projected_NSR;
  };

  const Layer& at(std::int64_t layer) const {
    return layers_[static_cast<std::size_t>(layer)];
  }
  void Reserve(const CacheLayout::Layer& layout, std::int64_t length,
               Layer* layer);

  ExecContext ctx_;
  CacheLayout layout_;
  std::vector<Layer> layers_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_KV_CACHE_H_
