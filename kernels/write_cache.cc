#include "kernels/write_cache.h"

#include "kernels/core/check.h"
#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/write_cache.h"
#include "kernels/cuda/write_cache.h"

namespace rtpurbo::kernels {
namespace {

void CheckHead(const CacheView& cache, const CacheView::Head& head,
               const Tensor& k_TGC) {
  const std::int64_t slots = head.key_NC.dim(0);
  CHECK_EQ(head.key_NC.shape(), (Shape{slots, k_TGC.dim(2)}));
  CHECK_EQ(head.value_NC.shape(), head.key_NC.shape());
  CHECK(head.key_NC.dtype() == k_TGC.dtype() &&
        head.value_NC.dtype() == k_TGC.dtype())
      << "rows are " << Name(k_TGC.dtype());
  CHECK_LE(head.ring ? cache.sinks + 1 : cache.length, slots)
      << "slots of a cached head";
}

void WriteOnCuda(const ExecContext& ctx, const Tensor& k_TGC,
                 const Tensor& v_TGC, const CacheView& cache) {
  const std::int64_t G = k_TGC.dim(1);
  CHECK_LE(G, cuda::kMaxCacheHeads) << "key/value heads of a cache on CUDA";
  cuda::CacheWrite write = {.T = k_TGC.dim(0),
                            .G = G,
                            .row_bytes = k_TGC.dim(2) * SizeOf(k_TGC.dtype()),
                            .length = cache.length,
                            .sinks = cache.sinks,
                            .heads_G = {}};
  for (std::int64_t g = 0; g < G; ++g) {
    const CacheView::Head& head = cache.heads_G[static_cast<std::size_t>(g)];
    write.heads_G[g] = {head.key_NC.bytes(), head.value_NC.bytes(),
                        head.key_NC.dim(0), head.ring};
  }
  if constexpr (kHasCuda) {  // a debug build keeps this function without CUDA
    cuda::WriteCache(write, k_TGC.bytes(), v_TGC.bytes(), ctx.stream);
  }
}

}  // namespace

void WriteCache(const ExecContext& ctx, const Tensor& k_TGC,
                const Tensor& v_TGC, const CacheView& cache) {
  const std::int64_t G = k_TGC.dim(1);
  const std::int64_t C = k_TGC.dim(2);
  const std::int64_t begin = cache.length - k_TGC.dim(0);
  CHECK_EQ(static_cast<std::int64_t>(cache.heads_G.size()), G);
  CHECK_EQ(v_TGC.shape(), k_TGC.shape());
  CHECK(v_TGC.dtype() == k_TGC.dtype());
  CHECK_LE(0, begin) << "more rows than positions";
  for (const CacheView::Head& head : cache.heads_G) {
    CheckHead(cache, head, k_TGC);
  }
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return WriteOnCuda(ctx, k_TGC, v_TGC, cache);
    }
  }
  DispatchFloat(k_TGC.dtype(), [&]<typename T>() {
    ParallelFor(G, 1, [&](std::int64_t g, std::int64_t end) {
      for (; g < end; ++g) {
        const CacheView::Head& head =
            cache.heads_G[static_cast<std::size_t>(g)];
        cpu::WriteHead(k_TGC.data<T>(), G, g, C, begin, cache, head.key_NC);
        cpu::WriteHead(v_TGC.data<T>(), G, g, C, begin, cache, head.value_NC);
      }
    });
  });
}

}  // namespace rtpurbo::kernels
