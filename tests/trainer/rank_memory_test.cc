// What a rank holds when four share a model whose weights are most of it, by
// the counters of its allocator.

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/dist/ranks.h"
#include "tests/model/small_config.h"
#include "tests/model/small_sparse.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "trainer/stages/projection_alignment.h"
#include "trainer/stages/self_distillation.h"
#include "trainer/trainer.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kTokens = 24;
constexpr std::int64_t kLabels = 4;
constexpr std::int64_t kWidth = 4;  // of projections
const std::set<Role> kAll = {Role::kEmbedding, Role::kAttention, Role::kNorms,
                             Role::kRouter, Role::kExperts};

// 3.5 million weights in 8 blocks, next to which 24 tokens are little.
ModelConfig WideConfig() {
  ModelConfig config = SmallConfig();
  config.hidden_size = 128;
  config.head_width = 32;
  config.num_experts = 8;
  config.expert_size = 128;
  config.num_layers = 8;
  config.is_moe_layer.assign(8, true);
  return config;
}

std::unique_ptr<Transformer> WideModel(const ExecContext& ctx,
                                       Communicator& ranks, DType dtype,
                                       const std::set<Role>& trainable) {
  Transformer::Options options;
  options.dtype = dtype;
  options.trainable = trainable;
  options.max_positions = kTokens + 1;
  options.comm = &ranks;
  auto model = std::make_unique<Transformer>(ctx, WideConfig(), options);
  // What it takes to make up weights counts elsewhere.
  const auto outside = *Device::Open(DeviceType::kCpu);
  unsigned seed = 0;
  for (const Transformer::Group& group : model->groups()) {
    Tensor& shard = group.params->shard();
    std::vector<float> values = Normal(shard.size(), ++seed);
    for (float& value : values) {
      value = group.layout.role == Role::kNorms ? 1 + value / 10 : value / 10;
    }
    kernels::Cast(ctx, FromHost(outside->ctx(), values, shard.shape()), &shard);
  }
  return model;
}

absl::StatusOr<Sequence> SequenceOf(std::int64_t index) {
  Sequence sequence;
  sequence.index = index;
  for (std::int64_t t = 0; t <= kTokens; ++t) {
    sequence.tokens_T.push_back(
        static_cast<std::int32_t>((7 * t + index) % 32));
  }
  sequence.label_begin = kTokens + 1 - kLabels;
  return sequence;
}

TopLabels LabelsOf(const ExecContext& ctx) {
  constexpr std::int64_t kTop = 10;
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < kLabels * kTop; ++i) {
    ids.push_back(static_cast<std::int32_t>(i % kTop));
  }
  return {FromHost(ctx, ids, {kLabels, kTop}),
          Tensor::Zeros(ctx, DType::kF32, {kLabels, kTop}),
          Tensor::Zeros(ctx, DType::kF32, {kLabels})};
}

class Nowhere : public Recorder {
 public:
  absl::Status Resume(absl::string_view /*stage*/, std::int64_t) override {
    return absl::OkStatus();
  }
  absl::Status Record(const StepRecord& /*record*/) override {
    return absl::OkStatus();
  }
};

// Elements of all ranks.
std::int64_t Elements(const Transformer::Group& group) {
  return group.params->shard().size() * group.params->options().comm->size();
}

// Bytes of the two largest blocks: their gathered weights, and the gradients of
// those that train.
std::int64_t TwoBlocks(const Transformer& model) {
  std::map<std::string, std::int64_t> blocks;  // "block.3", or a lone group
  for (const Transformer::Group& group : model.groups()) {
    const ParamGroup::Options& options = group.params->options();
    const std::int64_t bytes =
        SizeOf(options.dtype) + (options.trainable ? SizeOf(DType::kF32) : 0);
    const std::string& name = group.layout.name;
    blocks[name.substr(0, name.rfind('.'))] += Elements(group) * bytes;
  }
  std::vector<std::int64_t> sizes;
  sizes.reserve(blocks.size());
  for (const auto& [name, bytes] : blocks) {
    sizes.push_back(bytes);
  }
  std::sort(sizes.rbegin(), sizes.rend());
  return sizes[0] + sizes[1];
}

// Two buffers for the largest group of each role.
std::int64_t RingBytes(const Transformer& model) {
  std::map<Role, std::int64_t> largest;
  for (const Transformer::Group& group : model.groups()) {
    std::int64_t& bytes = largest[group.layout.role];
    const DType dtype = group.params->options().dtype;
    bytes = std::max(bytes, Elements(group) * SizeOf(dtype));
  }
  std::int64_t sum = 0;
  for (const auto& [role, bytes] : largest) {
    sum += 2 * bytes;
  }
  return sum;
}

struct Measured {
  std::int64_t peak = 0;     // of the rank that has most
  std::int64_t weights = 0;  // of it: with gradients and moments
  std::int64_t two_blocks = 0;
};

class RankMemoryTest : public ::testing::TestWithParam<DType> {
 public:  // members are named in tests, by address
  RankMemoryTest() {
    options_.steps = 3;
    options_.schedule = {Schedule::Kind::kConstant, 1e-3, 0, options_.steps};
    options_.held_out_every = 2;
    options_.checkpoint_every = 2;
  }

  void Run(const ExecContext& ctx, Communicator& ranks, Stage& stage) {
    TrainOptions options = options_;
    options.folder = directory_ / std::to_string(ranks.size());
    Nowhere recorder;
    ASSERT_OK(
        Train(ctx, RealFileSystem(), ranks, stage, options, recorder).status());
  }

  static SparseMode Mode(const ExecContext& ctx, const ModelConfig& config) {
    SparseMode mode;
    mode.map = SomeHeads(config);
    mode.projections = RandomProjections(ctx, config, mode.map, kWidth, 7);
    return mode;
  }

  void Distill(const ExecContext& ctx, Transformer& model,
               Communicator& ranks) {
    SelfDistillation::Options options;
    options.mode = Mode(ctx, model.config());
    options.sequences_per_step = 4;
    options.train = SequenceOf;
    options.train_labels = [&](std::int64_t) -> absl::StatusOr<TopLabels> {
      return LabelsOf(ctx);
    };
    options.held_out = options.train;
    options.held_out_labels = options.train_labels;
    options.num_held_out = 2;
    SelfDistillation stage(model, options);
    Run(ctx, ranks, stage);
  }

  void Align(const ExecContext& ctx, Transformer& model, Communicator& ranks) {
    IndexProjections projections = *Mode(ctx, model.config()).projections;
    ProjectionAlignment::Options options;
    options.sequences_per_step = 4;
    options.train = SequenceOf;
    options.held_out = options.train;
    options.num_held_out = 2;
    options.replicas = &ranks;
    ProjectionAlignment stage(model, options, &projections);
    Run(ctx, ranks, stage);
  }

  using StageRun = void (RankMemoryTest::*)(const ExecContext&, Transformer&,
                                            Communicator&);
  Measured Measure(int size, StageRun stage, const std::set<Role>& trainable) {
    std::mutex mutex;
    Measured measured;
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      const auto model = WideModel(ctx, ranks, GetParam(), trainable);
      (this->*stage)(ctx, *model, ranks);
      const std::lock_guard<std::mutex> lock(mutex);
      measured.two_blocks = TwoBlocks(*model);
      const std::int64_t peak = ctx.allocator.usage().peak;
      if (peak > measured.peak) {
        measured.peak = peak;
        measured.weights = ctx.allocator.usage("weights").peak +
                           ctx.allocator.usage("grads").peak +
                           ctx.allocator.usage("optimizer").peak;
      }
    });
    return measured;
  }

  void ExpectAQuarterAndTwoBlocks(StageRun stage,
                                  const std::set<Role>& trainable) {
    const Measured one = Measure(1, stage, trainable);
    const Measured four = Measure(4, stage, trainable);
    RecordProperty("one", std::to_string(one.peak));
    RecordProperty("four", std::to_string(four.peak));
    RecordProperty("two_blocks", std::to_string(four.two_blocks));
    EXPECT_GT(static_cast<double>(one.weights),
              0.9 * static_cast<double>(one.peak));
    EXPECT_LE(static_cast<double>(four.peak - four.two_blocks),
              0.3 * static_cast<double>(one.peak))
        << "of four ranks " << four.peak << ", two blocks " << four.two_blocks
        << ", of one rank " << one.peak;
  }

  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
  TrainOptions options_;
};

INSTANTIATE_TEST_SUITE_P(All, RankMemoryTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

TEST_P(RankMemoryTest, DistillationTakesAQuarterAndTwoBlocks) {
  ExpectAQuarterAndTwoBlocks(&RankMemoryTest::Distill, kAll);
}

TEST_P(RankMemoryTest, AlignmentTakesAQuarterAndTwoBlocks) {
  ExpectAQuarterAndTwoBlocks(&RankMemoryTest::Align, {});
}

// No master in float, no gradient, no moment of the teacher.
TEST_P(RankMemoryTest, AFrozenTeacherIsItsShardsInTheirTypeAndTheRings) {
  RunCpuRanks(4, [this](const ExecContext& ctx, Communicator& ranks) {
    const auto teacher = WideModel(ctx, ranks, GetParam(), {});
    std::int64_t elements = 0;
    for (const Transformer::Group& group : teacher->groups()) {
      EXPECT_EQ(group.params->shard().dtype(), GetParam()) << group.layout.name;
      elements += Elements(group);
    }
    const Allocator& counters = ctx.allocator;
    const std::int64_t shards = elements / 4 * SizeOf(GetParam());
    EXPECT_EQ(counters.usage("weights").in_use, shards);
    Align(ctx, *teacher, ranks);
    EXPECT_EQ(counters.usage("weights").peak, shards + RingBytes(*teacher));
    const ModelConfig& config = teacher->config();
    const std::int64_t projections = SomeHeads(config).num_retrieval() * 2 *
                                     kWidth * config.head_width *
                                     SizeOf(DType::kF32);
    EXPECT_EQ(counters.usage("grads").peak, projections);
    EXPECT_EQ(counters.usage("optimizer").peak, 2 * projections);
  });
}

}  // namespace
}  // namespace rtpurbo::testing
