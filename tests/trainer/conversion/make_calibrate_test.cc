// The head maps of a calibration that several ranks share.

#include <cmath>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "dist/mesh.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "model/head_map.h"
#include "tests/dist/mesh_shapes.h"
#include "tests/dist/ranks.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/conversion/conversion.h"

namespace rtpurbo::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

const std::vector<std::string>& Maps() {
  static const auto& maps = *new std::vector<std::string>{
      "calibrate/heads.needle.textproto", "calibrate/heads.effect.textproto",
      "heads.textproto"};
  return maps;
}

// The third map is that of heads one by one.
class MakeCalibrateTest : public ::testing::Test {
 protected:
  MakeCalibrateTest() {
    SetLogLevel(LogLevel::kError);
    WriteTestModel(directory_ / "model", 3);
    run_ = TestRun(directory_ / "model");
    run_.mutable_calibration()->set_method(configs::Calibration::ONE_BY_ONE);
    run_.mutable_calibration()->set_needle_documents(5);
  }
  ~MakeCalibrateTest() override { SetLogLevel(LogLevel::kInfo); }

  // What became of it on each rank, and how many documents each began.
  struct Outcome {
    std::vector<absl::Status> ends;
    std::vector<std::int64_t> documents;
  };
  // Into a folder of the shape's name. Rank `stopped` is asked to stop at its
  // second document.
  Outcome Calibrate(const MeshShape& shape, int stopped = -1) const {
    const int size = NumRanks(shape);
    Outcome outcome;
    outcome.ends.resize(static_cast<std::size_t>(size));
    outcome.documents.resize(static_cast<std::size_t>(size));
    RunCpuRanks(size, [&](const ExecContext& ctx, Communicator& ranks) {
      const auto rank = static_cast<std::size_t>(ranks.rank());
      std::int64_t& documents = outcome.documents[rank];
      documents = rank == 0 ? -1 : 0;  // that rank is asked before it starts
      RunControl control;
      control.may_go_on = [&] {
        ++documents;
        return ranks.rank() != stopped || documents < 2;
      };
      outcome.ends[rank] = CalibrateOnRank(ctx, ranks, shape, control);
    });
    return outcome;
  }
  absl::Status CalibrateOnRank(const ExecContext& ctx, Communicator& ranks,
                               const MeshShape& shape,
                               const RunControl& control) const {
    configs::Run run = run_;
    run.mutable_mesh()->set_replica(shape.replica);
    run.mutable_mesh()->set_shard(shape.shard);
    run.mutable_mesh()->set_sequence(shape.sequence);
    if (ranks.rank() == ranks.size() - 1) {
      run.mutable_calibration()->set_needle_tokens(last_rank_needle_tokens_);
    }
    const std::string folder = directory_ / Describe(shape);
    ASSIGN_OR_RETURN(
        const auto prepared,
        Conversion::Open(ctx, RealFileSystem(), ranks, run, folder));
    RETURN_IF_ERROR(prepared->Make("prepare"));
    ASSIGN_OR_RETURN(
        const auto conversion,
        Conversion::Open(ctx, RealFileSystem(), ranks, run, folder, control));
    RETURN_IF_ERROR(conversion->Make("calibrate"));
    ASSIGN_OR_RETURN(const Transformer* model, conversion->run().Teacher());
    EXPECT_EQ(model->options().comm->size(), shape.shard * shape.sequence);
    return absl::OkStatus();
  }
  // Each rank does its team's share of 5 documents with needles, 5 questions
  // for effects and 5 for heads one by one.
  void ExpectShared(const MeshShape& shape) const {
    const Outcome outcome = Calibrate(shape);
    EXPECT_THAT(outcome.ends, Each(IsOk()));
    const int teams = shape.replica * shape.shard;
    EXPECT_THAT(outcome.documents, Each(3 * ((5 + teams - 1) / teams)));
  }
  std::string Path(const MeshShape& shape, const std::string& name) const {
    return JoinPath(directory_ / Describe(shape), name);
  }
  std::string Text(const MeshShape& shape, const std::string& name) const {
    return RealFileSystem().ReadFile(Path(shape, name)).value();
  }
  HeadMap Map(const MeshShape& shape, const std::string& name) const {
    return HeadMapFromText(Text(shape, name), name).value();
  }

  TemporaryDirectory directory_{TemporaryDirectory::Where::kInMemory};
  configs::Run run_;
  std::int64_t last_rank_needle_tokens_ = 16;
};

void ExpectSameHeads(const HeadMap& a, const HeadMap& b) {
  EXPECT_EQ(a.model_fingerprint, b.model_fingerprint);
  EXPECT_EQ(a.documents, b.documents);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (std::size_t l = 0; l < a.layers.size(); ++l) {
    EXPECT_EQ(a.layers[l].retrieval_H, b.layers[l].retrieval_H);
    const std::vector<float>& one = a.layers[l].score_H;
    const std::vector<float>& other = b.layers[l].score_H;
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t h = 0; h < one.size(); ++h) {
      EXPECT_NEAR(one[h], other[h], 1e-6 + 1e-5 * std::abs(one[h]));
    }
  }
}

// Also with teams that have no document of their own.
TEST_F(MakeCalibrateTest, AnyNumberOfTeamsWritesTheSameBytes) {
  const MeshShape one;
  ExpectShared(one);
  for (const MeshShape& shape :
       {MeshShape{.shard = 2}, MeshShape{.replica = 2}, MeshShape{.shard = 3},
        MeshShape{.replica = 2, .shard = 2}, MeshShape{.shard = 8}}) {
    SCOPED_TRACE(Describe(shape));
    ExpectShared(shape);
    for (const std::string& name : Maps()) {
      EXPECT_EQ(Text(shape, name), Text(one, name));
    }
  }
}

// Sums over rows are in another order then.
TEST_F(MakeCalibrateTest, RanksThatShareRowsFindTheSameHeads) {
  const MeshShape one;
  ExpectShared(one);
  for (const MeshShape& shape :
       {MeshShape{.sequence = 2}, MeshShape{.shard = 2, .sequence = 2},
        MeshShape{.replica = 2, .sequence = 2}, MeshShape{.sequence = 4}}) {
    SCOPED_TRACE(Describe(shape));
    ExpectShared(shape);
    for (const std::string& name : Maps()) {
      ExpectSameHeads(Map(one, name), Map(shape, name));
    }
  }
  // Whatever shares the parameters.
  for (const std::string& name : Maps()) {
    EXPECT_EQ(Text({.sequence = 2}, name),
              Text({.shard = 2, .sequence = 2}, name));
    EXPECT_EQ(Text({.sequence = 2}, name),
              Text({.replica = 2, .sequence = 2}, name));
  }
}

TEST_F(MakeCalibrateTest, ADocumentThatOneRankCannotMakeEndsAll) {
  last_rank_needle_tokens_ = 1;
  EXPECT_THAT(Calibrate({.shard = 2}).ends,
              Each(StatusIs(absl::StatusCode::kInvalidArgument,
                            HasSubstr("rank 1: a needle of 1 tokens"))));
}

TEST_F(MakeCalibrateTest, AskedToStopOnAnyRankAllStop) {
  for (const int rank : {0, 1, 3}) {
    const MeshShape shape = {.replica = 2, .sequence = 2};
    const Outcome outcome = Calibrate(shape, rank);
    EXPECT_THAT(outcome.ends,
                Each(StatusIs(absl::StatusCode::kCancelled,
                              HasSubstr("calibrate was stopped, as asked"))));
    EXPECT_THAT(outcome.documents, Each(2));
    EXPECT_FALSE(RealFileSystem().Exists(Path(shape, Maps()[0])).value());
  }
}

}  // namespace
}  // namespace rtpurbo::testing
