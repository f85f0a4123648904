// A small model whose every element is a function of tensor, index and seed,
// saved from and loaded into any number of ranks.

#ifndef RTPURBO_TESTS_DATA_CHECKPOINT_TESTING_H_
#define RTPURBO_TESTS_DATA_CHECKPOINT_TESTING_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/checkpoint.h"
#include "kernels/core/context.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/tensor.h"

namespace rtpurbo::testing {

struct TensorSpec {
  std::string name;
  Shape shape;
  DType dtype;
};

inline std::vector<TensorSpec> SmallModel() {
  return {{"block.0.attention", {7, 5}, DType::kF32},
          {"block.0.experts.up", {4, 3, 11}, DType::kBF16},
          {"adam.m/block.0.attention", {7, 5}, DType::kF32},
          {"one", {1}, DType::kI32},
          {"scalar", {}, DType::kF32},
          {"none", {0, 3}, DType::kF32},
          // More than one block of check sums.
          {"large", {3, 600'000}, DType::kF32}};
}

// Byte i of a tensor.
inline std::byte ByteOf(const std::string& name, std::int64_t i,
                        std::uint64_t seed) {
  return static_cast<std::byte>(RandomBits(seed, std::hash<std::string>()(name),
                                           static_cast<std::uint64_t>(i)));
}

// The parts of one rank: an equal share of each flattened tensor.
class RankParts {
 public:
  RankParts(const std::vector<TensorSpec>& model, int rank, int world_size)
      : device_(*Device::Open(DeviceType::kCpu)) {
    for (const TensorSpec& spec : model) {
      const std::int64_t n = NumElements(spec.shape);
      const std::int64_t begin = n * rank / world_size;
      const std::int64_t end = n * (rank + 1) / world_size;
      parts_.push_back(
          {spec.name, spec.shape, begin, end,
           Tensor::Empty(device_->ctx(), spec.dtype, {end - begin})});
      ForEachByte(parts_.back(), [](std::byte& byte, std::int64_t) {
        byte = std::byte{0xee};
      });
    }
  }
  ~RankParts() { parts_.clear(); }
  RankParts(const RankParts&) = delete;
  RankParts& operator=(const RankParts&) = delete;

  std::vector<TensorPart>& parts() { return parts_; }
  void Fill(std::uint64_t seed) {
    for (TensorPart& part : parts_) {
      ForEachByte(part, [&](std::byte& byte, std::int64_t i) {
        byte = ByteOf(part.name, i, seed);
      });
    }
  }
  // Bytes that are not what Fill(seed) gives.
  std::int64_t CountWrong(std::uint64_t seed) {
    std::int64_t wrong = 0;
    for (TensorPart& part : parts_) {
      ForEachByte(part, [&](const std::byte& byte, std::int64_t i) {
        wrong += static_cast<std::int64_t>(byte != ByteOf(part.name, i, seed));
      });
    }
    return wrong;
  }

 private:
  // Calls fn(byte, its index in the whole tensor).
  template <typename Fn>
  static void ForEachByte(const TensorPart& part, Fn fn) {
    const std::int64_t first = part.begin * SizeOf(part.local.dtype());
    for (std::int64_t i = 0; i < part.local.num_bytes(); ++i) {
      fn(part.local.bytes()[i], first + i);
    }
  }

  std::unique_ptr<Device> device_;
  std::vector<TensorPart> parts_;
};

// Saves the model as `step`, with the values of `seed`, from all ranks in turn.
inline absl::Status SaveModel(FileSystem& files, const std::string& root,
                              const std::vector<TensorSpec>& model,
                              std::int64_t step, std::uint64_t seed,
                              int world_size) {
  RETURN_IF_ERROR(PrepareCheckpoint(files, root, step));
  CheckpointContents contents = {
      .step = step,
      .config = "steps: 3\nname: \"a\"\n",
      .state = {{"seed", std::to_string(seed)}, {"position", "12"}},
      .files = {}};
  for (int rank = 0; rank < world_size; ++rank) {
    RankParts ranks(model, rank, world_size);
    ranks.Fill(seed);
    ASSIGN_OR_RETURN(
        CheckpointFile file,
        WriteCheckpointFile(files, root, step, rank, ranks.parts()));
    contents.files.push_back(std::move(file));
  }
  return CommitCheckpoint(files, root, contents);
}

// Loads a checkpoint into `world_size` ranks, and compares every byte with what
// its own state says was saved.
inline absl::Status LoadModel(FileSystem& files, const std::string& dir,
                              const std::vector<TensorSpec>& model,
                              int world_size) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(files, dir));
  ASSIGN_OR_RETURN(const std::string seed, checkpoint.State("seed"));
  for (int rank = 0; rank < world_size; ++rank) {
    RankParts ranks(model, rank, world_size);
    RETURN_IF_ERROR(checkpoint.Load(ranks.parts()));
    if (ranks.CountWrong(std::stoull(seed)) != 0) {
      return absl::InternalError("other values than were saved");
    }
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DATA_CHECKPOINT_TESTING_H_
