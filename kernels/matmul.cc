#include "kernels/matmul.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/matmul_fast.h"
#include "kernels/cuda/matmul.h"

namespace rtpurbo::kernels {

void Matmul(const ExecContext& ctx, const Tensor& a, bool trans_a,
            const Tensor& b, bool trans_b, float beta, Tensor* c) {
  const MatmulShape shape{.M = a.dim(trans_a ? 1 : 0),
                          .N = b.dim(trans_b ? 0 : 1),
                          .K = a.dim(trans_a ? 0 : 1),
                          .trans_a = trans_a,
                          .trans_b = trans_b};
  CHECK_EQ(b.dim(trans_b ? 1 : 0), shape.K) << a.shape() << " x " << b.shape();
  CHECK(a.dtype() == b.dtype()) << Name(a.dtype()) << " x " << Name(b.dtype());
  CHECK_EQ(c->shape(), (Shape{shape.M, shape.N}));
  if (shape.K == 0 && beta == 1.0F) {
    return;  // a rank without tokens adds nothing
  }
  DispatchFloats(a.dtype(), c->dtype(), [&]<typename T, typename C>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const Storage space(ctx.Tagged("workspace"), cuda::kMatmulWorkspace);
        return cuda::Matmul(shape, a.data<T>(), b.data<T>(), beta, c->data<C>(),
                            space.data(), ctx.stream);
      }
    }
    const auto tiles = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t tile = begin; tile < end; ++tile) {
        cpu::MatmulTile(shape, tile, a.data<T>(), b.data<T>(), beta,
                        c->data<C>());
      }
    };
    ParallelFor(cpu::NumMatmulTiles(shape), 1, tiles);
  });
}

}  // namespace rtpurbo::kernels
