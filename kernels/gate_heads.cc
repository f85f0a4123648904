#include "kernels/gate_heads.h"

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/gate_heads.h"
#include "kernels/cuda/gate_heads.h"

namespace rtpurbo::kernels {
namespace {

// One head on the CPU: its gate's sum runs over rows in order. Heads of one row
// lie C apart, rows `row` apart; dfull and dlocal may be null.
template <typename T>
float HeadBackward(const T* full, const T* local, float gate, const T* dy,
                   std::int64_t T_, std::int64_t row, std::int64_t C, T* dfull,
                   T* dlocal) {
  float sum = 0;
  for (std::int64_t at = 0; at < T_ * row; at += row) {
    sum += cpu::GateHeadBackward<T>(full + at, local + at, gate, dy + at, C,
                                    dfull == nullptr ? nullptr : dfull + at,
                                    dlocal == nullptr ? nullptr : dlocal + at);
  }
  return sum;
}

}  // namespace

void GateHeadsForward(const ExecContext& ctx, const Tensor& full_THC,
                      const Tensor& local_THC, const Tensor& gate_H,
                      Tensor* y_THC) {
  const std::int64_t H = full_THC.dim(1);
  const std::int64_t C = full_THC.dim(2);
  CHECK_EQ(local_THC.shape(), full_THC.shape());
  CHECK_EQ(y_THC->shape(), full_THC.shape());
  CHECK_EQ(gate_H.shape(), Shape{H});
  const float* gate = gate_H.data<float>();
  DispatchFloat(full_THC.dtype(), [&]<typename T>() {
    const T* full = full_THC.data<T>();
    const T* local = local_THC.data<T>();
    T* y = y_THC->data<T>();
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::GateHeadsForward({full_THC.dim(0), H, C}, full, local,
                                      gate, y, ctx.stream);
      }
    }
    ParallelFor(full_THC.dim(0), 64, [&](std::int64_t begin, auto end) {
      for (std::int64_t i = begin * H; i < end * H; ++i) {
        cpu::GateHead<T>(full + i * C, local + i * C, gate[i % H], C,
                         y + i * C);
      }
    });
  });
}

void GateHeadsBackward(const ExecContext& ctx, const Tensor& full_THC,
                       const Tensor& local_THC, const Tensor& gate_H,
                       const Tensor& dy_THC, Tensor* dfull_THC,
                       Tensor* dlocal_THC, Tensor* dgate_H) {
  const std::int64_t T_ = full_THC.dim(0);
  const std::int64_t H = full_THC.dim(1);
  const std::int64_t C = full_THC.dim(2);
  CHECK_EQ(dy_THC.shape(), full_THC.shape());
  const float* gate = gate_H.data<float>();
  float* dgate = dgate_H->defined() ? dgate_H->data<float>() : nullptr;
  DispatchFloat(full_THC.dtype(), [&]<typename T>() {
    const T* full = full_THC.data<T>();
    const T* local = local_THC.data<T>();
    const T* dy = dy_THC.data<T>();
    T* dfull = dfull_THC->defined() ? dfull_THC->data<T>() : nullptr;
    T* dlocal = dlocal_THC->defined() ? dlocal_THC->data<T>() : nullptr;
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        const cuda::GateShape shape = {T_, H, C};
        const Storage space(ctx.Tagged("workspace"),
                            cuda::GateHeadsWorkspace(shape));
        return cuda::GateHeadsBackward(shape, full, local, gate, dy, dfull,
                                       dlocal, dgate, space.data(), ctx.stream);
      }
    }
    ParallelFor(H, 1, [&](std::int64_t h, std::int64_t /*end*/) {
      const std::int64_t at = h * C;
      const float sum =
          HeadBackward<T>(full + at, local + at, gate[h], dy + at, T_, H * C, C,
                          dfull == nullptr ? nullptr : dfull + at,
                          dlocal == nullptr ? nullptr : dlocal + at);
      if (dgate != nullptr) {
        dgate[h] += sum;
      }
    });
  });
}

}  // namespace rtpurbo::kernels
