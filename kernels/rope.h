// Rotary position embedding, half-split as in published Llama and Qwen weights
// (Su et al. 2021, arXiv 2104.09864, equation 34).
//
//   y_c       = x_c cos(t f_c) - x_{c+C/2} sin(t f_c)
//   y_{c+C/2} = x_{c+C/2} cos(t f_c) + x_c sin(t f_c),    c < C/2

#ifndef RTPURBO_KERNELS_ROPE_H_
#define RTPURBO_KERNELS_ROPE_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// f_c = base^(-2c/C). cos and sin of t f_c for t in [0, num_positions),
// computed as published implementations do: angles in f32. [num_positions, C/2]
// f32.
void RopeTables(const ExecContext& ctx, double base, std::int64_t num_positions,
                std::int64_t width, Tensor* cos_NC, Tensor* sin_NC);
// y = rotation of x by the row's position; with `inverse`, by minus it: that is
// the backward pass. x, y: [T, H, C], may be the same tensor.
//   position_T: [T] i32, within the tables.
void Rope(const ExecContext& ctx, const Tensor& x_THC, const Tensor& position_T,
          const Tensor& cos_NC, const Tensor& sin_NC, bool inverse,
          Tensor* y_THC);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ROPE_H_
