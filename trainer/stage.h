// A training method: which tensors move, and the loss of one micro-batch. It
// owns no loop, no optimizer and no files.
//
// Losses are sums. The divisor of a step, the label rows of all its
// micro-batches, is known from the data before anything is computed, so unequal
// micro-batches never become a mean of means. The ranks of a run share out a
// step's micro-batches and the held-out sequences (trainer.h); a stage does not
// know which are its own.

#ifndef RTPURBO_TRAINER_STAGE_H_
#define RTPURBO_TRAINER_STAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dist/communicator.h"
#include "kernels/core/interval.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

// What the optimizer updates: this rank's elements of one or more parameters.
struct TrainedTensor {
  std::string name;
  Tensor weight;  // f32, flat
  Tensor grad;    // f32, as weight; added to by the stage
  float weight_decay = 0;
  // The parameters inside, for checkpoints: their elements lie at `offset` on
  // of a flat buffer that ranks share, of which this one holds [begin, begin +
  // weight.size()).
  struct Parameter {
    std::string name;
    Shape shape;
    std::int64_t offset = 0;
    std::optional<Interval> part =
        std::nullopt;  // lies there; all if not given

    Interval elements() const {
      return part.value_or(Interval{0, NumElements(shape)});
    }
  };
  std::vector<Parameter> parameters;
  std::int64_t begin = 0;
  // The ranks that hold these same elements, if there are others: each has a
  // gradient of its own, whose sum is what the step is taken with.
  Communicator* replicas = nullptr;
  std::string role = "weights";  // whose gradient's norm is told

  // Whether this rank is the one of those that speaks for them.
  bool is_first() const { return replicas == nullptr || replicas->rank() == 0; }
};

// Sums of one step over its micro-batches.
struct StepSums {
  double loss = 0;
  double kl = 0;            // of one attention row, or of one label
  double rows = 0;          // that both are sums over
  std::int64_t tokens = 0;  // that went through the model
  // The part of `kl` that is of each layer's heads, if the stage knows it; NaN
  // for a layer that has none.
  std::vector<double> kl_of_layer;
};

class Stage {
 public:
  virtual ~Stage() = default;

  // "align", "distill": as in metrics.jsonl and folder names.
  virtual absl::string_view name() const = 0;
  virtual std::vector<TrainedTensor> trained() = 0;
  // Micro-batches of one step, and the rows of loss in one of them.
  virtual std::int64_t num_micro_batches() const = 0;
  virtual absl::StatusOr<double> RowsOf(std::int64_t step,
                                        std::int64_t micro_batch) = 0;
  // Adds `scale` times the gradient of this micro-batch's loss sum to trained()
  // and its numbers to *sums. If ranks share the rows of a sequence, each adds
  // those of its own rows.
  virtual absl::Status RunMicroBatch(std::int64_t step,
                                     std::int64_t micro_batch, float scale,
                                     StepSums* sums) = 0;
  // Held-out sequences, always the same ones, and the mean loss of one of them.
  // If ranks share its rows: what this rank's rows add to the mean.
  virtual std::int64_t num_held_out() const = 0;
  virtual absl::StatusOr<double> HeldOutMean(std::int64_t i) = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGE_H_
