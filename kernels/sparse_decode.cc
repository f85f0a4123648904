#include "kernels/sparse_decode.h"

#include <algorithm>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/core/config.h"
#include "kernels/cpu/sparse_decode_fast.h"
#include "kernels/cuda/sparse_decode.h"

namespace rtpurbo::kernels {
namespace {

void CheckCache(const CacheView& cache, const Tensor& q_THC) {
  CHECK_LE(q_THC.dim(0), cache.length) << "new rows are part of the cache";
  CHECK_LE(0, cache.sinks);
  for (const CacheView::Head& head : cache.heads_G) {
    const Tensor& keys = head.key_NC;
    CHECK_EQ(keys.shape(), (Shape{keys.dim(0), q_THC.dim(2)}));
    CHECK_EQ(head.value_NC.shape(), keys.shape());
    CHECK(keys.dtype() == q_THC.dtype() &&
          head.value_NC.dtype() == q_THC.dtype())
        << "q is " << Name(q_THC.dtype()) << ", keys " << Name(keys.dtype())
        << ", values " << Name(head.value_NC.dtype());
    CHECK_LE(head.ring ? cache.sinks + 1 : cache.length, keys.dim(0))
        << "slots of a cached head";
  }
}

template <typename T>
std::vector<cpu::DecodeHead<T>> HeadsOf(const CacheView& cache) {
  std::vector<cpu::DecodeHead<T>> heads;
  for (const CacheView::Head& head : cache.heads_G) {
    heads.push_back({head.key_NC.data<T>(), head.value_NC.data<T>(),
                     head.key_NC.dim(0), head.ring ? cache.sinks : -1});
  }
  return heads;
}

// What the rows of query head h see of the ring of its key/value head is there.
void CheckHeld(const AttentionView& view, const CacheView& cache,
               const CacheView::Head& ring, std::int64_t h) {
  CHECK(view.slot_H == nullptr || view.slot_H[h] < 0)
      << "query head " << h << " selects blocks of a ring";
  const std::int64_t oldest = cache.length - (ring.key_NC.dim(0) - cache.sinks);
  const std::int64_t first_row = cache.length - view.T;
  const auto check = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = std::max(begin, cache.sinks);
    CHECK(first >= end || first >= oldest)
        << "a row sees position " << first << ", but of " << cache.length
        << " positions the ring holds those from " << oldest << " on";
  };
  const std::int64_t window = std::min(view.window_H[h], first_row);
  check(first_row - window, cache.length);
  check(0, std::min(view.sinks, first_row));
}

template <typename T>
void RunOnCuda(const ExecContext& ctx, const AttentionView& view,
               const CacheView& cache, const T* q_THC, T* o_THC,
               float* lse_HT) {
  std::vector<cuda::DecodeHead> heads_H;
  for (std::int64_t h = 0; h < view.H; ++h) {
    const CacheView::Head& head =
        cache.heads_G[static_cast<std::size_t>(view.kv_head_H[h])];
    if (head.ring && view.T > 0) {
      CheckHeld(view, cache, head, h);
    }
    heads_H.push_back(
        {head.key_NC.bytes(), head.value_NC.bytes(), head.key_NC.dim(0),
         std::min(view.window_H[h], cache.length), head.ring ? 1 : 0,
         view.slot_H == nullptr ? -1 : view.slot_H[h]});
  }
  const cuda::DecodeShape shape = {.T = view.T,
                                   .H = view.H,
                                   .C = view.C,
                                   .length = cache.length,
                                   .ring_sinks = cache.sinks,
                                   .sinks = view.sinks,
                                   .scale = view.scale,
                                   .selected_SMB = view.selected_SMB,
                                   .selected_rows = view.selected_rows,
                                   .words = view.mask_words,
                                   .block = view.block};
  const Storage space(ctx.Tagged("workspace"),
                      cuda::DecodeWorkspace(shape, heads_H.data()));
  cuda::SparseDecode<T>(shape, heads_H.data(), q_THC, o_THC, lse_HT,
                        space.data(), ctx.stream);
}

}  // namespace

void SparseDecode(const ExecContext& ctx, const AttentionPattern& pattern,
                  const Tensor& q_THC, const CacheView& cache, Tensor* o_THC,
                  Tensor* lse_HT) {
  CheckCache(cache, q_THC);
  CHECK(!pattern.document_N.defined()) << "a cache holds one document";
  CHECK_EQ(o_THC->shape(), q_THC.shape());
  CHECK_EQ(lse_HT->shape(), (Shape{q_THC.dim(1), q_THC.dim(0)}));
  const AttentionView view =
      ViewOf(pattern, q_THC, cache.length,
             static_cast<std::int64_t>(cache.heads_G.size()),
             cache.length - q_THC.dim(0));
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return DispatchFloat(q_THC.dtype(), [&]<typename T>() {
        RunOnCuda<T>(ctx, view, cache, q_THC.data<T>(), o_THC->data<T>(),
                     lse_HT->data<float>());
      });
    }
  }
  std::int64_t slots = 0;
  for (const CacheView::Head& head : cache.heads_G) {
    slots = std::max(slots, std::min(head.key_NC.dim(0), cache.length));
  }
  const Tensor scratch = Tensor::Empty(ctx.Tagged("workspace"), DType::kF32,
                                       {cpu::DecodeScratchSize(view, slots)});
  DispatchFloat(q_THC.dtype(), [&]<typename T>() {
    const std::vector<cpu::DecodeHead<T>> heads = HeadsOf<T>(cache);
    cpu::SparseDecodeFast<T>({view, q_THC.data<T>(), heads.data()},
                             scratch.data<float>(), o_THC->data<T>(),
                             lse_HT->data<float>());
  });
}

}  // namespace rtpurbo::kernels
