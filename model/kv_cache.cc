#include "model/kv_cache.h"

#include <algorithm>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/write_cache.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kFirstRows = 256;

std::int64_t Size(const auto& list) {
  return static_cast<std::int64_t>(list.size());
}

std::int64_t RowsFor(std::int64_t length) {
  std::int64_t rows = length == 0 ? 0 : kFirstRows;
  while (rows < length) {
    rows *= 2;
  }
  return rows;
}

std::int64_t SlotsFor(const CacheLayout& layout, bool ring,
                      std::int64_t length) {
  const std::int64_t rows = RowsFor(length);
  return ring ? std::min(layout.ring_slots, rows) : rows;
}

// `slots` rows, the first of which are those of `from`.
void Grow(const ExecContext& ctx, DType dtype, const Shape& shape,
          Tensor* tensor) {
  if (tensor->defined() && tensor->dim(0) == shape[0]) {
    return;
  }
  Tensor larger = Tensor::Empty(ctx, dtype, shape);
  if (tensor->defined()) {
    CopyBytes(ctx, tensor->bytes(), larger.bytes(), tensor->num_bytes());
  }
  *tensor = std::move(larger);
}

std::int64_t NumBytes(const Tensor& tensor) {
  return tensor.defined() ? tensor.num_bytes() : 0;
}

}  // namespace

CacheLayout LayoutOf(const ModelConfig& config, const SparseMode& mode,
                     DType dtype, std::int64_t max_new_rows) {
  CacheLayout layout;
  layout.head_width = config.head_width;
  layout.dtype = dtype;
  layout.sinks = mode.map.sinks;
  layout.ring_slots = std::max(mode.dense_below,
                               mode.map.sinks + mode.map.window + max_new_rows);
  if (mode.projections != nullptr) {
    layout.projection_width = mode.projections->width;
  }
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    CacheLayout::Layer layer;
    layer.ring_G.assign(static_cast<std::size_t>(config.num_kv_heads), true);
    for (std::int64_t h = 0; h < config.num_heads; ++h) {
      if (mode.map.retrieves(l, h)) {
        layer.ring_G[static_cast<std::size_t>(config.kv_head(h))] = false;
      }
    }
    if (mode.projections != nullptr) {
      layer.num_projected =
          Size(mode.projections->layers[static_cast<std::size_t>(l)].head_S);
    }
    layout.layers.push_back(std::move(layer));
  }
  return layout;
}

std::int64_t CacheBytes(const CacheLayout& layout, std::int64_t length) {
  std::int64_t bytes = 0;
  for (const CacheLayout::Layer& layer : layout.layers) {
    for (const bool ring : layer.ring_G) {
      bytes += 2 * SlotsFor(layout, ring, length) * layout.head_width *
               SizeOf(layout.dtype);
    }
    bytes += RowsFor(length) * layer.num_projected * layout.projection_width *
             SizeOf(DType::kF32);
  }
  return bytes;
}

CacheNeed NeedOf(const CacheLayout& layout, std::int64_t length) {
  CacheNeed need;
  const std::int64_t row = 2 * layout.head_width * SizeOf(layout.dtype);
  for (const CacheLayout::Layer& layer : layout.layers) {
    for (const bool ring : layer.ring_G) {
      need.keys_and_values +=
          row * (ring ? std::min(layout.ring_slots, length) : length);
      need.dense += row * length;
    }
    need.projected += length * layer.num_projected * layout.projection_width *
                      SizeOf(DType::kF32);
  }
  return need;
}

KvCache::KvCache(const ExecContext& ctx, CacheLayout layout)
    : ctx_(ctx.Tagged("kv_cache")), layout_(std::move(layout)) {
  for (const CacheLayout::Layer& of : layout_.layers) {
    CHECK(layout_.sinks < layout_.ring_slots ||
          std::find(of.ring_G.begin(), of.ring_G.end(), true) ==
              of.ring_G.end())
        << "a ring of " << layout_.ring_slots << " slots, " << layout_.sinks
        << " of them sinks";
    Layer layer;
    for (const bool ring : of.ring_G) {
      layer.heads_G.push_back({.key_NC = {}, .value_NC = {}, .ring = ring});
    }
    layers_.push_back(std::move(layer));
  }
}

KvCache KvCache::Clone() const {
  KvCache clone(ctx_, layout_);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    Layer& to = clone.layers_[l];
    to = layers_[l];  // shares the bytes, until here:
    for (kernels::CacheView::Head& head : to.heads_G) {
      for (Tensor* tensor : {&head.key_NC, &head.value_NC}) {
        *tensor = tensor->defined() ? tensor->Clone(ctx_) : Tensor();
      }
    }
    if (to.projected_NSR.defined()) {
      to.projected_NSR = to.projected_NSR.Clone(ctx_);
    }
  }
  return clone;
}

// A ring grows only while it has not wrapped around: until then a position is
// its own slot, as in a head kept whole.
void KvCache::Reserve(const CacheLayout::Layer& layout, std::int64_t length,
                      Layer* layer) {
  for (kernels::CacheView::Head& head : layer->heads_G) {
    const Shape shape = {SlotsFor(layout_, head.ring, length),
                         layout_.head_width};
    Grow(ctx_, layout_.dtype, shape, &head.key_NC);
    Grow(ctx_, layout_.dtype, shape, &head.value_NC);
  }
  if (layout.num_projected > 0) {
    Grow(ctx_, DType::kF32,
         {RowsFor(length), layout.num_projected, layout_.projection_width},
         &layer->projected_NSR);
  }
}

void KvCache::Append(std::int64_t layer, const Tensor& k_TGC,
                     const Tensor& v_TGC, const Tensor& y_TSR) {
  const auto index = static_cast<std::size_t>(layer);
  CHECK_LT(index, layers_.size());
  const CacheLayout::Layer& of = layout_.layers[index];
  const std::int64_t T = k_TGC.dim(0);
  CHECK(k_TGC.dtype() == layout_.dtype) << Name(k_TGC.dtype());
  CHECK_EQ(k_TGC.shape(), (Shape{T, Size(of.ring_G), layout_.head_width}));
  CHECK_EQ(y_TSR.defined(), of.num_projected > 0) << "projected keys";
  if (T == 0) {
    return;
  }
  Layer& to = layers_[index];
  Reserve(of, to.length + T, &to);
  if (y_TSR.defined()) {
    CHECK_EQ(y_TSR.shape(),
             (Shape{T, of.num_projected, layout_.projection_width}));
    CHECK(y_TSR.dtype() == DType::kF32) << Name(y_TSR.dtype());
    const Tensor rows = to.projected_NSR.Slice(to.length, to.length + T);
    CopyBytes(ctx_, y_TSR.bytes(), rows.bytes(), rows.num_bytes());
  }
  to.length += T;
  kernels::WriteCache(ctx_, k_TGC, v_TGC, View(layer));
}

kernels::CacheView KvCache::View(std::int64_t layer) const {
  kernels::CacheView view;
  view.heads_G = at(layer).heads_G;
  view.length = at(layer).length;
  view.sinks = layout_.sinks;
  return view;
}

Tensor KvCache::Projected(std::int64_t layer) const {
  const Tensor& all = at(layer).projected_NSR;
  return all.defined() ? all.Slice(0, at(layer).length) : Tensor();
}

std::int64_t KvCache::bytes() const {
  std::int64_t bytes = 0;
  for (const Layer& layer : layers_) {
    for (const kernels::CacheView::Head& head : layer.heads_G) {
      bytes += NumBytes(head.key_NC) + NumBytes(head.value_NC);
    }
    bytes += NumBytes(layer.projected_NSR);
  }
  return bytes;
}

}  // namespace rtpurbo
