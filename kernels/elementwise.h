// Fill, cast and add: what every other operator is glued together with.

#ifndef RTPURBO_KERNELS_ELEMENTWISE_H_
#define RTPURBO_KERNELS_ELEMENTWISE_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

void Fill(const ExecContext& ctx, float value, Tensor* dst);
// dst = src, rounded to its type.
void Cast(const ExecContext& ctx, const Tensor& src, Tensor* dst);
// dst += src in f32. The types may differ.
void AddInto(const ExecContext& ctx, const Tensor& src, Tensor* dst);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ELEMENTWISE_H_
