// AdamW over the tensors that a stage trains (Loshchilov and Hutter 2019,
// arXiv 1711.05101), with gradients clipped to a global norm.

#ifndef RTPURBO_TRAINER_OPTIMIZER_H_
#define RTPURBO_TRAINER_OPTIMIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/core/tensor.h"
#include "trainer/stage.h"

namespace rtpurbo {

class Optimizer {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double clip = 1;  // largest global norm; 0 does not clip
  };

  // Moments start at zero.
  Optimizer(const ExecContext& ctx, std::vector<TrainedTensor> tensors,
            const Options& options);

  // Adds up the gradients of replicas. Once a step, before the calls below.
  // Collective over each tensor's replicas, tensor by tensor.
  absl::Status SumReplicas();
  // The roles of the tensors, in order of name, each once.
  const std::vector<std::string>& roles() const { return roles_; }
  // For each role the sum of the squares of the gradients that have been added
  // up, over the elements that this rank speaks for. The square of the global
  // norm is the sum over roles and ranks.
  std::vector<double> GradSquares() const;
  // Updates the weights with gradients scaled by min(1, clip / norm), then
  // zeroes the gradients. `step` counts from 0. A `norm` that is not finite is
  // the caller's to refuse.
  void Step(std::int64_t step, double learning_rate, double norm);
  void ZeroGrads();

  const std::vector<TrainedTensor>& tensors() const { return tensors_; }
  // First and second moments, as tensors().
  const std::vector<Tensor>& m() const { return m_; }
  const std::vector<Tensor>& v() const { return v_; }

 private:
  ExecContext ctx_;
  std::vector<TrainedTensor> tensors_;
  Options options_;
  std::vector<std::string> roles_;
  std::vector<Tensor> m_;
  std::vector<Tensor> v_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_OPTIMIZER_H_
