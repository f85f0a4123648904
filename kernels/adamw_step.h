// The scalars of an AdamW update, for the public header and the backends.

#ifndef RTPURBO_KERNELS_ADAMW_STEP_H_
#define RTPURBO_KERNELS_ADAMW_STEP_H_

namespace rtpurbo::kernels {

// `correction` is 1 - beta^step. Gradients are multiplied by grad_scale first,
// which is how they are clipped to a norm without another pass.
struct AdamWStep {
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;
  float correction1;
  float correction2;
  float grad_scale = 1;
};

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ADAMW_STEP_H_
