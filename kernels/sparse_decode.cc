#include "kernels/sparse_decode.h"

#include <algorithm>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/check.h"
#include "kernels/cpu/sparse_decode_fast.h"

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

}  // namespace

void SparseDecode(const ExecContext& ctx, const AttentionPattern& pattern,
                  const Tensor& q_THC, const CacheView& cache, Tensor* o_THC,
                  Tensor* lse_HT) {
  CheckHasKernel(ctx, "SparseDecode");
  CheckCache(cache, q_THC);
  CHECK(!pattern.document_N.defined()) << "a cache holds one document";
  CHECK_EQ(o_THC->shape(), q_THC.shape());
  CHECK_EQ(lse_HT->shape(), (Shape{q_THC.dim(1), q_THC.dim(0)}));
  const AttentionView view =
      ViewOf(pattern, q_THC, cache.length,
             static_cast<std::int64_t>(cache.heads_G.size()),
             cache.length - q_THC.dim(0));
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
