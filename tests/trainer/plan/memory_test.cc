// The formula against the allocator: two steps of `tiny` on 1, 2 and 4 ranks.

#include "trainer/plan/memory.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "configs/load.h"
#include "data/file_system.h"
#include "dist/solo_communicator.h"
#include "gtest/gtest.h"
#include "tests/data/small_tokenizer.h"
#include "tests/dist/ranks.h"
#include "trainer/optimizer.h"
#include "trainer/stages/projection_alignment.h"
#include "trainer/stages/projection_start.h"
#include "trainer/stages/self_distillation.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kTokens = 1024;
constexpr std::int64_t kLabels = 64;

Sequence SequenceOf(std::int64_t index) {
  Sequence sequence;
  sequence.index = index;
  for (std::int64_t t = 0; t <= kTokens; ++t) {
    sequence.tokens_T.push_back(
        static_cast<std::int32_t>((t * 37 + 11) % 8192));
  }
  sequence.label_begin = kTokens + 1 - kLabels;
  return sequence;
}

TopLabels LabelsOf(const ExecContext& ctx) {
  TopLabels labels{Tensor::Zeros(ctx, DType::kI32, {kLabels, 10}),
                   Tensor::Zeros(ctx, DType::kF32, {kLabels, 10}),
                   Tensor::Zeros(ctx, DType::kF32, {kLabels})};
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < kLabels * 10; ++i) {
    ids.push_back(static_cast<std::int32_t>(i % 10));
  }
  labels.id_LK = FromHost(ctx, ids, {kLabels, 10});
  return labels;
}

class MemoryTest : public ::testing::Test {
 protected:
  MemoryTest()
      : run_(LoadRun(TestDataPath("../../configs/recipes/tiny.textproto"),
                     {"model.path=\"" + TestDataPath("tiny") + "\"",
                      "data.tokens=1024", "distill.label_tokens=64"},
                     1)
                 .value()),
        config_(ReadModelConfig(RealFileSystem(), run_.model().path()).value()),
        device_(Device::Open(DeviceType::kCpu).value()),
        teacher_(Load(device_->ctx(), alone_, {})) {
    // The first head of each layer retrieves.
    mode_.map = LocalMap(config_);
    for (HeadMap::Layer& layer : mode_.map.layers) {
      layer.retrieval_H[0] = true;
    }
    mode_.map.window = run_.attention().window();
    mode_.map.sinks = run_.attention().sinks();
    ProjectionStart start;
    start.width = 8;
    mode_.projections = std::make_shared<IndexProjections>(StartProjections(
        *teacher_, mode_.map, start, {SequenceOf(0).tokens_T}));
  }

  std::unique_ptr<Transformer> Load(const ExecContext& ctx, Communicator& comm,
                                    const std::set<Role>& trainable) const {
    Transformer::Options options;
    options.max_positions = 2 * kTokens;
    options.trainable = trainable;
    options.comm = &comm;
    return LoadTransformer(ctx, RealFileSystem(), run_.model().path(), options)
        .value();
  }

  PlanCase Case(PlanStage stage, int shard) const {
    PlanCase one = CaseOf(run_, config_, stage, {.shard = shard});
    one.tokens = kTokens;
    one.retrieval_heads = config_.num_layers;
    one.max_positions = 2 * kTokens;
    return one;
  }

  static void Steps(const ExecContext& ctx, Stage& stage) {
    Optimizer optimizer(ctx, stage.trained(), {});
    StepSums sums;
    for (std::int64_t step = 0; step < 2; ++step) {  // rings are full by then
      ASSERT_TRUE(stage.RunMicroBatch(step, 0, 1.0F, &sums).ok());
      optimizer.Step(step, 1e-3, 1);
    }
  }

  // Peak bytes of the rank that has most.
  std::int64_t Measure(const PlanCase& one) {
    std::mutex mutex;
    std::int64_t peak = 0;
    RunCpuRanks(one.mesh.shard,
                [&](const ExecContext& ctx, Communicator& ranks) {
                  const auto model = Load(ctx, ranks, one.trainable);
                  if (one.stage == PlanStage::kAlign) {
                    Align(ctx, *model);
                  } else {
                    Distill(ctx, *model, one.recompute);
                  }
                  const std::lock_guard<std::mutex> lock(mutex);
                  peak = std::max(peak, ctx.allocator.usage().peak);
                });
    return peak;
  }

  void Distill(const ExecContext& ctx, Transformer& model, bool recompute) {
    SelfDistillation::Options options;
    options.mode = mode_;
    options.recompute = recompute;
    options.train = SequenceOf;
    options.train_labels = [&](std::int64_t) -> absl::StatusOr<TopLabels> {
      return LabelsOf(ctx);
    };
    SelfDistillation stage(model, options);
    Steps(ctx, stage);
  }

  void Align(const ExecContext& ctx, Transformer& model) {
    IndexProjections projections = *mode_.projections;
    ProjectionAlignment::Options options;
    options.train = SequenceOf;
    ProjectionAlignment stage(model, options, &projections);
    Steps(ctx, stage);
  }

  void ExpectPlanned(const PlanCase& one) {
    const auto measured = static_cast<double>(Measure(one));
    const auto planned = static_cast<double>(PlanMemory(one).total());
    RecordProperty("planned", std::to_string(planned));
    RecordProperty("measured", std::to_string(measured));
    EXPECT_NEAR(planned / measured, 1, 0.1)
        << Name(one.stage) << " on " << one.mesh.shard << ": planned "
        << planned << ", measured " << measured;
  }

  configs::Run run_;
  ModelConfig config_;
  std::unique_ptr<Device> device_;
  SoloCommunicator alone_;
  std::unique_ptr<Transformer> teacher_;
  SparseMode mode_;
};

TEST_F(MemoryTest, AlignNeedsWhatIsPlanned) {
  for (const int ranks : {1, 2, 4}) {
    ExpectPlanned(Case(PlanStage::kAlign, ranks));
  }
}

TEST_F(MemoryTest, DistillNeedsWhatIsPlanned) {
  for (const int ranks : {1, 2, 4}) {
    ExpectPlanned(Case(PlanStage::kDistill, ranks));
  }
}

TEST_F(MemoryTest, DistillWithRecomputationNeedsWhatIsPlanned) {
  for (const int ranks : {1, 2, 4}) {
    PlanCase one = Case(PlanStage::kDistill, ranks);
    one.recompute = true;
    ExpectPlanned(one);
  }
}

TEST_F(MemoryTest, DistillOfAllWeightsNeedsWhatIsPlanned) {
  for (const int ranks : {1, 2, 4}) {
    PlanCase one = Case(PlanStage::kDistill, ranks);
    one.trainable = {Role::kEmbedding, Role::kAttention, Role::kNorms,
                     Role::kExperts};
    ExpectPlanned(one);
  }
}

}  // namespace
}  // namespace rtpurbo::testing
