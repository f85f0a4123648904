#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/adamw.h"
#include "kernels/core/status_macros.h"
#include "kernels/reduce.h"

namespace rtpurbo {

Optimizer::Optimizer(const ExecContext& ctx, std::vector<TrainedTensor> tensors,
                     const Options& options)
    : ctx_(ctx), tensors_(std::move(tensors)), options_(options) {
  const ExecContext tagged = ctx_.Tagged("optimizer");
  for (const TrainedTensor& tensor : tensors_) {
    CHECK_EQ(tensor.weight.shape(), tensor.grad.shape()) << tensor.name;
    m_.push_back(Tensor::Zeros(tagged, DType::kF32, tensor.weight.shape()));
    v_.push_back(Tensor::Zeros(tagged, DType::kF32, tensor.weight.shape()));
    roles_.push_back(tensor.role);
  }
  std::sort(roles_.begin(), roles_.end());
  roles_.erase(std::unique(roles_.begin(), roles_.end()), roles_.end());
}

absl::Status Optimizer::SumReplicas() {
  for (TrainedTensor& tensor : tensors_) {
    if (tensor.replicas != nullptr) {
      RETURN_IF_ERROR(
          tensor.replicas->AllReduce(ctx_, ReduceOp::kSum, &tensor.grad));
    }
  }
  return absl::OkStatus();
}

std::vector<double> Optimizer::GradSquares() const {
  const auto n = static_cast<std::int64_t>(roles_.size());
  const Tensor sums = Tensor::Zeros(ctx_, DType::kF32, {n});
  for (const TrainedTensor& tensor : tensors_) {
    if (tensor.is_first()) {
      const std::int64_t i =
          std::find(roles_.begin(), roles_.end(), tensor.role) - roles_.begin();
      Tensor sum = sums.Slice(i, i + 1);
      kernels::SumSquares(ctx_, tensor.grad, &sum);
    }
  }
  // All at once: on a GPU the host waits here.
  const std::vector<float> squares = ToHost<float>(ctx_, sums);
  return {squares.begin(), squares.end()};
}

void Optimizer::Step(std::int64_t step, double learning_rate, double norm) {
  const bool clips = options_.clip > 0 && norm > options_.clip;
  const double count = static_cast<double>(step + 1);
  kernels::AdamWStep args{};
  args.learning_rate = static_cast<float>(learning_rate);
  args.beta1 = static_cast<float>(options_.beta1);
  args.beta2 = static_cast<float>(options_.beta2);
  args.epsilon = static_cast<float>(options_.epsilon);
  args.correction1 = static_cast<float>(1 - std::pow(options_.beta1, count));
  args.correction2 = static_cast<float>(1 - std::pow(options_.beta2, count));
  args.grad_scale = static_cast<float>(clips ? options_.clip / norm : 1.0);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    args.weight_decay = tensors_[i].weight_decay;
    kernels::AdamW(ctx_, args, tensors_[i].grad, &tensors_[i].weight, &m_[i],
                   &v_[i]);
  }
  ZeroGrads();
}

void Optimizer::ZeroGrads() {
  for (const TrainedTensor& tensor : tensors_) {
    ZeroBytes(ctx_, tensor.grad.bytes(), tensor.grad.num_bytes());
  }
}

}  // namespace rtpurbo
