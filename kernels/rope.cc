#include "kernels/rope.h"

#include <cmath>

#include "kernels/core/config.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/rope.h"
#include "kernels/cuda/rope.h"

namespace rtpurbo::kernels {

void RopeTables(const ExecContext& ctx, double base, std::int64_t num_positions,
                std::int64_t width, Tensor* cos_NC, Tensor* sin_NC) {
  const std::int64_t half = width / 2;
  CHECK_EQ(cos_NC->shape(), (Shape{num_positions, half}));
  CHECK_EQ(sin_NC->shape(), cos_NC->shape());
  std::vector<float> cos(static_cast<std::size_t>(num_positions * half));
  std::vector<float> sin(cos.size());
  for (std::int64_t c = 0; c < half; ++c) {
    // In f32 as the published implementation, or angles at far positions differ
    // from those that the model was trained with.
    const float exponent =
        static_cast<float>(2 * c) / static_cast<float>(width);
    const float frequency = 1.0F / std::pow(static_cast<float>(base), exponent);
    for (std::int64_t t = 0; t < num_positions; ++t) {
      const float angle = static_cast<float>(t) * frequency;
      const auto i = static_cast<std::size_t>(t * half + c);
      cos[i] = std::cos(angle);
      sin[i] = std::sin(angle);
    }
  }
  CopyBytes(ctx, cos.data(), cos_NC->bytes(), cos_NC->num_bytes());
  CopyBytes(ctx, sin.data(), sin_NC->bytes(), sin_NC->num_bytes());
  Synchronize(ctx);  // the host vectors end here
}

namespace {

// Rows [begin, end) on the CPU.
template <typename T>
void RopeRows(const T* x_THC, const std::int32_t* position_T,
              const Tensor& cos_NC, const Tensor& sin_NC, std::int64_t H,
              float sign, std::int64_t begin, std::int64_t end, T* y_THC) {
  const std::int64_t half = cos_NC.dim(1);
  const std::int64_t row = H * 2 * half;
  for (std::int64_t t = begin; t < end; ++t) {
    CHECK(0 <= position_T[t] && position_T[t] < cos_NC.dim(0))
        << "position " << position_T[t] << " of row " << t
        << " is beyond the rotation tables of " << cos_NC.dim(0);
    const std::int64_t at = position_T[t] * half;
    cpu::RopeRow(x_THC + t * row, cos_NC.data<float>() + at,
                 sin_NC.data<float>() + at, H, 2 * half, sign, y_THC + t * row);
  }
}

}  // namespace

void Rope(const ExecContext& ctx, const Tensor& x_THC, const Tensor& position_T,
          const Tensor& cos_NC, const Tensor& sin_NC, bool inverse,
          Tensor* y_THC) {
  const std::int64_t H = x_THC.dim(1);
  const std::int64_t C = x_THC.dim(2);
  CHECK_EQ(y_THC->shape(), x_THC.shape());
  CHECK_EQ(position_T.shape(), Shape{x_THC.dim(0)});
  CHECK_EQ(cos_NC.dim(1) * 2, C);
  const auto* position = position_T.data<std::int32_t>();
  const float sign = inverse ? -1 : 1;
  DispatchFloat(x_THC.dtype(), [&]<typename T>() {
    if constexpr (kHasCuda) {
      if (OnCuda(ctx)) {
        return cuda::Rope({x_THC.dim(0), H, C, inverse}, x_THC.data<T>(),
                          position, cos_NC.data<float>(), sin_NC.data<float>(),
                          y_THC->data<T>(), ctx.stream);
      }
    }
    ParallelFor(x_THC.dim(0), 64, [&](std::int64_t begin, std::int64_t end) {
      RopeRows(x_THC.data<T>(), position, cos_NC, sin_NC, H, sign, begin, end,
               y_THC->data<T>());
    });
  });
}

}  // namespace rtpurbo::kernels
