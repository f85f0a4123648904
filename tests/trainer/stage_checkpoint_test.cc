#include "trainer/stage_checkpoint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/checkpoint_folder.h"
#include "dist/solo_communicator.h"
#include "gtest/gtest.h"
#include "tests/dist/ranks.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

// Two tensors: "w" is sharded over the ranks, as a parameter group is (each
// parameter and each shard at a multiple of 4), "p" is the same on all ranks.
// Element i of a buffer holds a number of its own, in [first, first + 1).
class Sharded {
 public:
  Sharded(const ExecContext& ctx, Communicator& ranks)
      : ctx_(ctx), size_(ranks.size()) {
    std::vector<TrainedTensor::Parameter> parameters;
    std::int64_t offset = 0;
    for (const Shape& shape : {Shape{7, 5}, Shape{1}, Shape{33}}) {
      parameters.push_back({absl::StrCat("w", offset), shape, offset});
      offset += (NumElements(shape) + 3) / 4 * 4;
    }
    const std::int64_t shard = (offset + 4 * size_ - 1) / (4 * size_) * 4;
    tensors_.push_back({"w", Tensor::Zeros(ctx, DType::kF32, {shard}),
                        Tensor::Zeros(ctx, DType::kF32, {shard}), 0, parameters,
                        ranks.rank() * shard});
    tensors_.push_back({"p",
                        Tensor::Zeros(ctx, DType::kF32, {6}),
                        Tensor::Zeros(ctx, DType::kF32, {6}),
                        0,
                        {{"p", {2, 3}, 0}},
                        0,
                        &ranks});
  }
  const std::vector<TrainedTensor>& tensors() const { return tensors_; }

  // Calls fn(element, its number) for all that belongs to a parameter.
  template <typename Fn>
  void ForEach(const Optimizer& optimizer, Fn&& fn) const {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const Tensor* const flat[] = {&tensors_[t].weight, &optimizer.m()[t],
                                    &optimizer.v()[t]};
      for (int k = 0; k < 3; ++k) {
        ForEachOf(tensors_[t], *flat[k], static_cast<float>(10 * t + k), fn);
      }
    }
  }

 private:
  template <typename Fn>
  static void ForEachOf(const TrainedTensor& tensor, const Tensor& flat,
                        float first, Fn& fn) {
    for (const TrainedTensor::Parameter& parameter : tensor.parameters) {
      for (std::int64_t i = 0; i < NumElements(parameter.shape); ++i) {
        const std::int64_t at = parameter.offset + i - tensor.begin;
        if (0 <= at && at < flat.size()) {
          fn(flat.data<float>()[at],
             first + static_cast<float>(parameter.offset + i) / 128);
        }
      }
    }
  }

  ExecContext ctx_;
  std::int64_t size_;
  std::vector<TrainedTensor> tensors_;
};

class StageCheckpointTest : public ::testing::Test {
 protected:
  void SaveOn(int size, const std::string& folder) {
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      const Sharded sharded(ctx, ranks);
      const Optimizer optimizer(ctx, sharded.tensors(), {});
      sharded.ForEach(optimizer,
                      [](float& element, float value) { element = value; });
      StageState state;
      state.step = 40;
      state.best_step = 40;
      state.first_held_out = {1.0 / 3, 2};
      ASSERT_OK(SaveStage(ctx, RealFileSystem(), ranks, directory_ / folder,
                          "text", optimizer, state));
    });
  }
  void ExpectLoadedOn(int size, const std::string& folder) {
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      const Sharded sharded(ctx, ranks);
      const Optimizer optimizer(ctx, sharded.tensors(), {});
      ASSERT_OK_AND_ASSIGN(
          const Checkpoint checkpoint,
          Checkpoint::Open(RealFileSystem(),
                           directory_ / folder + "/step_00000040"));
      ASSERT_OK_AND_ASSIGN(const StageState state,
                           LoadStage(ctx, checkpoint, optimizer));
      EXPECT_EQ(state.step, 40);
      EXPECT_EQ(state.first_held_out, (std::vector<double>{1.0 / 3, 2}));
      sharded.ForEach(optimizer, [](float element, float value) {
        EXPECT_EQ(element, value);
      });
    });
  }
  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
};

TEST_F(StageCheckpointTest, AnyNumberOfRanksLoadsWhatAnyOtherSaved) {
  for (int saved = 1; saved <= 8; ++saved) {
    const std::string folder = absl::StrCat("of_", saved);
    SaveOn(saved, folder);
    for (int loaded = 1; loaded <= 8; ++loaded) {
      SCOPED_TRACE(absl::StrCat(saved, " to ", loaded));
      ExpectLoadedOn(loaded, folder);
    }
  }
}

TEST_F(StageCheckpointTest, ReplicasAreWrittenOnce) {
  SaveOn(4, "a");
  ASSERT_OK_AND_ASSIGN(
      const Checkpoint checkpoint,
      Checkpoint::Open(RealFileSystem(), directory_ / "a/step_00000040"));
  int parts = 0;
  for (const CheckpointFile& file : checkpoint.manifest().files()) {
    for (const CheckpointPart& part : file.parts()) {
      parts += part.name() == "p" ? 1 : 0;
    }
  }
  EXPECT_EQ(parts, 1);
}

// One rank can't write: no rank thinks that there is a checkpoint.
TEST_F(StageCheckpointTest, AnErrorOfOneRankIsThatOfAll) {
  RunCpuRanks(3, [&](const ExecContext& ctx, Communicator& ranks) {
    const Sharded sharded(ctx, ranks);
    const Optimizer optimizer(ctx, sharded.tensors(), {});
    StageState state;
    state.best_step = 0;
    // Rank 1 takes a folder that was not prepared.
    const std::string folder = directory_ / (ranks.rank() == 1 ? "b" : "a");
    const absl::Status status =
        SaveStage(ctx, RealFileSystem(), ranks, folder, "", optimizer, state);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(std::string(status.message()).substr(0, 7), "rank 1:");
    ASSERT_OK_AND_ASSIGN(const auto all,
                         ListCheckpoints(RealFileSystem(), directory_ / "a"));
    EXPECT_TRUE(all.empty());
  });
}

}  // namespace
}  // namespace rtpurbo::testing
