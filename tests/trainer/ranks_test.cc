// Stages over several ranks: the same run as on one.

#include "tests/dist/ranks.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dist/mesh.h"
#include "gtest/gtest.h"
#include "tests/dist/mesh_shapes.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_distillation.h"
#include "tests/trainer/test_model.h"
#include "trainer/stages/head_calibration.h"
#include "trainer/stages/projection_alignment.h"
#include "trainer/stages/self_distillation.h"
#include "trainer/trainer.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kSteps = 6;
constexpr std::int64_t kExperts = 8;  // one for each of the most ranks

class Lines : public Recorder {
 public:
  absl::Status Resume(absl::string_view /*stage*/, std::int64_t step) override {
    resumed_after = step;
    return absl::OkStatus();
  }
  absl::Status Record(const StepRecord& record) override {
    if (record.step == fails_at) {
      return absl::UnavailableError("the disk is full");
    }
    lines.push_back(record);
    return absl::OkStatus();
  }
  std::int64_t fails_at = -1;
  std::int64_t resumed_after = -2;
  std::vector<StepRecord> lines;
};

// What a run of one number of ranks left.
struct Outcome {
  std::vector<StepRecord> lines;
  std::int64_t resumed_after = -2;
  std::vector<std::int64_t> sequences;  // that were trained on, by any rank
};

class RanksTest : public ::testing::Test {
 public:  // members are named in tests, by address
  RanksTest() {
    WriteTestModel(directory_ / "model", 3, kExperts);
    options_.steps = kSteps;
    options_.schedule = {Schedule::Kind::kConstant, 1e-3, 0, kSteps};
    options_.held_out_every = 2;
    options_.checkpoint_every = 3;
    options_.keep_last = 10;
    options_.config_text = "some";
  }

  // shape_, or all ranks on the shard axis if it is of another number of ranks.
  std::unique_ptr<Mesh> MakeMesh(Communicator& ranks) const {
    const MeshShape shards = {.shard = ranks.size()};
    return Mesh::Create(NumRanks(shape_) == ranks.size() ? shape_ : shards,
                        &ranks)
        .value();
  }
  // The dense model, experts and sequences cut over ranks if the mesh does so.
  std::unique_ptr<Transformer> Load(const ExecContext& ctx, Mesh& mesh,
                                    const std::set<Role>& trainable) const {
    const auto along = [&](MeshAxis axis) {
      Communicator& comm = mesh.along(axis);
      return comm.size() > 1 ? &comm : nullptr;
    };
    return LoadTestModel(ctx, mesh.shard_sequence(), directory_ / "model",
                         trainable, along(MeshAxis::kSequence),
                         along(MeshAxis::kExpert));
  }
  // One rank of a stage 2 run with its checkpoints in `folder`.
  void Distill(const ExecContext& ctx, Communicator& ranks,
               const std::string& folder, Outcome* outcome) {
    const auto mesh = MakeMesh(ranks);
    const auto teacher =
        LoadTestModel(ctx, mesh->shard_sequence(), directory_ / "model", {});
    const auto student =
        Load(ctx, *mesh, {Role::kAttention, Role::kNorms, Role::kExperts});
    const auto labels = [&](std::int64_t i) -> absl::StatusOr<TopLabels> {
      return TestLabels(*teacher, TestSequence(i));
    };
    SelfDistillation::Options options;
    options.mode = TestMode(*teacher);
    options.sequences_per_step = 4;
    options.train = TestSequence;
    options.train_labels = [&](std::int64_t i) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        outcome->sequences.push_back(i);
      }
      return labels(i);
    };
    options.held_out = options.train;
    options.held_out_labels = labels;
    options.num_held_out = 3;
    options.replicas = {&mesh->replica_expert(),
                        &mesh->along(MeshAxis::kReplica)};
    options.recompute = recompute_;
    SelfDistillation stage(*student, options);
    Run(ctx, *mesh, folder, stage, outcome);
  }

  // One rank of a stage 1 run: two sequences a step, whatever the ranks.
  void Align(const ExecContext& ctx, Communicator& ranks,
             const std::string& folder, Outcome* outcome) {
    const auto mesh = MakeMesh(ranks);
    const auto teacher = Load(ctx, *mesh, {});
    IndexProjections projections = *TestMode(*teacher).projections;
    ProjectionAlignment::Options options;
    options.sequences_per_step = 2;
    options.train = TestSequence;
    options.held_out = options.train;
    options.num_held_out = 3;
    options.replicas = &ranks;
    ProjectionAlignment stage(*teacher, options, &projections);
    Run(ctx, *mesh, folder, stage, outcome);
  }

  void Run(const ExecContext& ctx, Mesh& mesh, const std::string& folder,
           Stage& stage, Outcome* outcome) {
    Communicator& ranks = mesh.world();
    TrainOptions options = options_;
    options.team = mesh.team();
    options.folder = folder;
    Lines recorder;
    recorder.fails_at = fails_at_;
    const absl::Status status =
        Train(ctx, RealFileSystem(), ranks, stage, options, recorder).status();
    if (fails_at_ >= 0) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    } else {
      EXPECT_OK(status);
    }
    if (ranks.rank() == 0) {
      outcome->lines = recorder.lines;
      outcome->resumed_after = recorder.resumed_after;
    } else {
      EXPECT_TRUE(recorder.lines.empty());
    }
  }

  using StageRun = void (RanksTest::*)(const ExecContext&, Communicator&,
                                       const std::string&, Outcome*);
  Outcome RunOn(int size, StageRun stage, const std::string& folder) {
    Outcome outcome;
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      (this->*stage)(ctx, ranks, directory_ / folder, &outcome);
    });
    return outcome;
  }
  static void ExpectSameLosses(const Outcome& a, const Outcome& b) {
    ASSERT_EQ(a.lines.size(), b.lines.size());
    for (std::size_t i = 0; i < a.lines.size(); ++i) {
      EXPECT_NEAR(a.lines[i].loss, b.lines[i].loss, 1e-5 * a.lines[i].loss);
      EXPECT_NEAR(a.lines[i].grad_norm, b.lines[i].grad_norm,
                  1e-4 * a.lines[i].grad_norm);
      EXPECT_EQ(a.lines[i].tokens, b.lines[i].tokens);
      EXPECT_EQ(a.lines[i].label_tokens, b.lines[i].label_tokens);
      ASSERT_EQ(a.lines[i].held_out.size(), b.lines[i].held_out.size());
      for (std::size_t k = 0; k < a.lines[i].held_out.size(); ++k) {
        EXPECT_NEAR(a.lines[i].held_out[k], b.lines[i].held_out[k],
                    1e-5 * a.lines[i].held_out[k]);
      }
    }
  }

  std::int64_t fails_at_ = -1;
  MeshShape shape_;
  bool recompute_ = false;
  std::mutex mutex_;
  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
  TrainOptions options_;
};

TEST_F(RanksTest, DistillationOnSeveralRanksIsThatOnOne) {
  const Outcome one = RunOn(1, &RanksTest::Distill, "1");
  ASSERT_EQ(one.lines.size(), kSteps + 1U);
  EXPECT_LT(one.lines.back().held_out[0], one.lines[0].held_out[0]);
  for (const int size : {2, 4}) {
    Outcome many = RunOn(size, &RanksTest::Distill, absl::StrCat(size));
    ExpectSameLosses(one, many);
    // Every sequence once, whoever took it.
    std::sort(many.sequences.begin(), many.sequences.end());
    EXPECT_EQ(many.sequences, one.sequences);
  }
}

TEST_F(RanksTest, ReplicasOfShardsTrainAsOneRankDoes) {
  const Outcome one = RunOn(1, &RanksTest::Distill, "1");
  shape_ = {.replica = 2, .shard = 2};
  ExpectSameLosses(one, RunOn(4, &RanksTest::Distill, "2x2"));
}

// Some that cut sequences, experts, or both.
const std::vector<MeshShape>& ShapesThatCut() {
  static const auto& shapes = *new std::vector<MeshShape>{
      {.sequence = 2},
      {.shard = 2, .sequence = 2},
      {.sequence = 4},
      {.replica = 2, .sequence = 2},
      {.expert = 2},
      {.shard = 2, .expert = 2},
      {.expert = 4},
      {.replica = 2, .expert = 2},
      {.sequence = 2, .expert = 2},
  };
  return shapes;
}

TEST_F(RanksTest, DistillationOfPartsIsThatOnOneRank) {
  const Outcome one = RunOn(1, &RanksTest::Distill, "1");
  for (const MeshShape& shape : ShapesThatCut()) {
    SCOPED_TRACE(Describe(shape));
    shape_ = shape;
    recompute_ = !recompute_;
    ExpectSameLosses(
        one, RunOn(NumRanks(shape), &RanksTest::Distill, Describe(shape)));
  }
}

TEST_F(RanksTest, AlignmentOfPartsIsThatOnOneRank) {
  const Outcome one = RunOn(1, &RanksTest::Align, "1");
  for (const MeshShape& shape : ShapesThatCut()) {
    SCOPED_TRACE(Describe(shape));
    shape_ = shape;
    ExpectSameLosses(
        one, RunOn(NumRanks(shape), &RanksTest::Align, Describe(shape)));
  }
}

TEST_F(RanksTest, EveryMeshOfEightRanksIsThatOfOne) {
  const Outcome aligned = RunOn(1, &RanksTest::Align, "align");
  const Outcome distilled = RunOn(1, &RanksTest::Distill, "distill");
  const std::vector<MeshShape> shapes = ShapesOf(8);
  ASSERT_EQ(shapes.size(), 20U);
  for (const MeshShape& shape : shapes) {
    SCOPED_TRACE(Describe(shape));
    shape_ = shape;
    recompute_ = !recompute_;
    ExpectSameLosses(aligned, RunOn(8, &RanksTest::Align,
                                    absl::StrCat("align ", Describe(shape))));
    ExpectSameLosses(distilled, RunOn(8, &RanksTest::Distill, Describe(shape)));
  }
}

// Needle, effect and one by one, of one document; all ranks get the same.
TEST_F(RanksTest, ScoresOverPartsOfSequencesAreThoseOfOneRank) {
  std::vector<float> one;
  for (const int size : {1, 2, 4}) {
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      const auto model = LoadTestModel(ctx, ranks, directory_ / "model", {},
                                       size == 1 ? nullptr : &ranks);
      const std::vector<std::int32_t> tokens = TestSequence(1).tokens_T;
      std::vector<float> scores =
          NeedleScores(*model, tokens, {40, 80}, {5, 9});
      for (const std::vector<float>& more :
           {EffectScores(*model, {8, 2}, {tokens, 70}, 2, true),
            OneByOneScores(*model, {8, 2}, {tokens, 70})}) {
        scores.insert(scores.end(), more.begin(), more.end());
      }
      EXPECT_OK(model->status());
      const std::lock_guard<std::mutex> lock(mutex_);
      if (size == 1) {
        one = scores;
      }
      ASSERT_EQ(scores.size(), one.size());
      for (std::size_t i = 0; i < one.size(); ++i) {
        EXPECT_NEAR(scores[i], one[i], 1e-6 + 1e-5 * std::abs(one[i])) << i;
      }
    });
  }
}

// Two sequences a step: with four ranks two of them have none of their own.
TEST_F(RanksTest, AlignmentOnSeveralRanksIsThatOnOne) {
  const Outcome one = RunOn(1, &RanksTest::Align, "1");
  for (const int size : {2, 4}) {
    ExpectSameLosses(one, RunOn(size, &RanksTest::Align, absl::StrCat(size)));
  }
}

// An error of the first rank ends all; another number of ranks goes on from the
// checkpoint, as if nothing had happened.
TEST_F(RanksTest, ARunGoesOnWithAnotherNumberOfRanks) {
  const Outcome whole = RunOn(1, &RanksTest::Distill, "whole");
  fails_at_ = 5;
  shape_ = {.shard = 2, .sequence = 2};
  RunOn(4, &RanksTest::Distill, "cut");
  fails_at_ = -1;
  shape_ = {.expert = 2};
  const Outcome rest = RunOn(2, &RanksTest::Distill, "cut");
  EXPECT_EQ(rest.resumed_after, 4);
  Outcome expected;
  expected.lines.assign(whole.lines.begin() + 5, whole.lines.end());
  ExpectSameLosses(expected, rest);
}

}  // namespace
}  // namespace rtpurbo::testing
