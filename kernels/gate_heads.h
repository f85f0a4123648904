// A mix of two attention outputs, one gate a query head: what integrated-effect
// calibration differentiates.
//
//   y[t, h] = gate_h full[t, h] + (1 - gate_h) local[t, h]

#ifndef RTPURBO_KERNELS_GATE_HEADS_H_
#define RTPURBO_KERNELS_GATE_HEADS_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// full, local, y: [T, H, C], one float type.  gate_H: [H] f32.
void GateHeadsForward(const ExecContext& ctx, const Tensor& full_THC,
                      const Tensor& local_THC, const Tensor& gate_H,
                      Tensor* y_THC);
// dfull = gate dy, dlocal = (1 - gate) dy, overwritten; undefined ones are not
// computed.  dgate_h += sum_t dy[t, h].(full - local)[t, h]: [H] f32.
void GateHeadsBackward(const ExecContext& ctx, const Tensor& full_THC,
                       const Tensor& local_THC, const Tensor& gate_H,
                       const Tensor& dy_THC, Tensor* dfull_THC,
                       Tensor* dlocal_THC, Tensor* dgate_H);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_GATE_HEADS_H_
