// The program on several ranks, as mpirun starts it.

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/dist/mesh_shapes.h"
#include "tests/launch/run_binary.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/conversion/artefacts.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;

struct Line {
  std::string stage;
  std::int64_t step = 0;
  double loss = 0;
  std::vector<double> held_out;
};

class RanksCommandTest : public ::testing::Test {
 protected:
  RanksCommandTest() { WriteTestModel(model_.path(), 3, /*num_experts=*/8); }

  std::vector<std::string> Arguments(
      const std::string& command, const std::string& out,
      const std::vector<std::string>& edits) const {
    return TestRunArguments(command, model_.path(), out_ / out, edits);
  }
  void RunOn(int num_ranks, const std::string& out,
             const std::vector<std::string>& edits = {},
             const std::string& command = "run") const {
    const Finished finished =
        num_ranks == 1
            ? RunBinary(Arguments(command, out, edits))
            : RunBinaryOnRanks(num_ranks, Arguments(command, out, edits));
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
  }
  std::vector<Line> Metrics(const std::string& out) const {
    std::ifstream file(out_ / out + "/metrics.jsonl");
    std::vector<Line> lines;
    for (std::string text; std::getline(file, text);) {
      const auto json = nlohmann::json::parse(text);
      lines.push_back({json["stage"], json["step"], json.value("loss", 0.0),
                       json.value("held_out", std::vector<double>())});
    }
    return lines;
  }
  void ExpectSameLosses(const std::string& a, const std::string& b) const {
    const std::vector<Line> one = Metrics(a);
    const std::vector<Line> other = Metrics(b);
    ASSERT_EQ(one.size(), other.size());
    ASSERT_GE(one.size(), 6U);
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].stage, other[i].stage);
      EXPECT_EQ(one[i].step, other[i].step);
      EXPECT_NEAR(one[i].loss, other[i].loss, 1e-5 * one[i].loss);
      ASSERT_EQ(one[i].held_out.size(), other[i].held_out.size());
      for (std::size_t k = 0; k < one[i].held_out.size(); ++k) {
        EXPECT_NEAR(one[i].held_out[k], other[i].held_out[k],
                    1e-5 * one[i].held_out[k]);
      }
    }
  }
  // Without their times.
  std::string Answers(const std::string& out) const {
    std::ifstream file(out_ / out + "/evaluation.jsonl");
    std::string all;
    for (std::string text; std::getline(file, text);) {
      auto json = nlohmann::json::parse(text);
      json.erase("seconds");
      all += json.dump() + "\n";
    }
    EXPECT_FALSE(all.empty());
    return all;
  }
  std::string Digest(const std::string& out, const std::string& name) const {
    return DigestOf(RealFileSystem(), JoinPath(out_ / out, name)).value();
  }

  TemporaryDirectory model_{TemporaryDirectory::Where::kInMemory};
  TemporaryDirectory out_{TemporaryDirectory::Where::kInMemory};
};

// The processes and kinds of the events of a trace.
void ExpectTrace(const std::string& path, int num_ranks) {
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  ASSERT_TRUE(json.is_object()) << path;
  std::set<int> ranks;
  std::set<std::string> kinds;
  for (const auto& event : json["traceEvents"]) {
    ranks.insert(event["pid"].get<int>());
    kinds.insert(event.value("cat", "name"));
    EXPECT_LE(0, event.value("dur", 0.0));
  }
  EXPECT_EQ(ranks.size(), static_cast<std::size_t>(num_ranks)) << path;
  for (const char* kind : {"forward", "communication", "step", "update"}) {
    EXPECT_EQ(kinds.count(kind), 1U) << path << " " << kind;
  }
}

TEST_F(RanksCommandTest, ARunCanBeTraced) {
  std::vector<std::string> arguments = Arguments("run", "traced", {});
  arguments.emplace_back("--profile=1");
  const Finished finished = RunBinaryOnRanks(2, arguments);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  ExpectTrace(out_ / "traced/profile/align.json", 2);
  ExpectTrace(out_ / "traced/profile/distill.json", 2);
}

TEST_F(RanksCommandTest, ARunOnSeveralRanksIsThatOnOne) {
  RunOn(1, "1");
  RunOn(2, "2");
  RunOn(4, "2x2", {"mesh.replica=2", "mesh.shard=2"});
  RunOn(2, "1x1x2", {"mesh.shard=1", "mesh.sequence=2"});
  RunOn(4, "1x2x2", {"mesh.shard=2", "mesh.sequence=2"});
  RunOn(4, "1x1x4", {"mesh.shard=1", "mesh.sequence=4"});
  for (const char* out : {"2", "2x2", "1x1x2", "1x2x2", "1x1x4"}) {
    ExpectSameLosses("1", out);
    // What does not depend on the order of any sum, labels among it.
    EXPECT_EQ(Digest("1", "prepare"), Digest(out, "prepare")) << out;
  }
  // Nor this, where ranks do not share rows.
  for (const char* out : {"2", "2x2"}) {
    for (const char* name : {"calibrate", "heads.textproto"}) {
      EXPECT_EQ(Digest("1", name), Digest(out, name)) << out << " " << name;
    }
  }
}

// Where ranks share rows, scores of heads are sums in another order; where they
// share experts, the labels are: see DESIGN.md.
TEST_F(RanksCommandTest, ARunOnEveryMeshOfEightRanksIsThatOnOne) {
  RunOn(1, "1");
  for (const MeshShape& shape : ShapesOf(8)) {
    SCOPED_TRACE(Describe(shape));
    const std::string out = Describe(shape);
    RunOn(8, out,
          {absl::StrCat("mesh.replica=", shape.replica),
           absl::StrCat("mesh.shard=", shape.shard),
           absl::StrCat("mesh.sequence=", shape.sequence),
           absl::StrCat("mesh.expert=", shape.expert)});
    ExpectSameLosses("1", out);
    if (shape.expert == 1) {
      EXPECT_EQ(Digest("1", "prepare"), Digest(out, "prepare"));
    }
    if (shape.expert == 1 && shape.sequence == 1) {
      EXPECT_EQ(Digest("1", "heads.textproto"), Digest(out, "heads.textproto"));
    }
  }
}

// Of the same weights: what one rank has trained.
TEST_F(RanksCommandTest, RanksAnswerTheSameQuestionsAlike) {
  RunOn(1, "one");
  RunOn(1, "three");
  ASSERT_OK(RealFileSystem().Remove(out_ / "three/evaluation.jsonl"));
  RunOn(3, "three", {}, "evaluate");
  EXPECT_EQ(Answers("one"), Answers("three"));
  EXPECT_EQ(Digest("one", "evaluate/fidelity.json"),
            Digest("three", "evaluate/fidelity.json"));
}

TEST_F(RanksCommandTest, AStageGoesOnWithAnotherNumberOfRanks) {
  RunOn(1, "whole");
  for (const char* command : {"prepare", "calibrate", "align"}) {
    RunOn(3, "parts", {}, command);
  }
  RunOn(2, "parts");
  ExpectSameLosses("whole", "parts");
}

TEST_F(RanksCommandTest, AnErrorIsSaidAndEndsAllRanks) {
  const Finished finished = RunBinaryOnRanks(
      3, Arguments("run", "a", {"mesh.expert=3", "mesh.shard=1"}));
  EXPECT_NE(finished.exit_code, 0);
  EXPECT_THAT(finished.err, HasSubstr("mesh.expert is 3, but the model"));
  const Finished wrong =
      RunBinaryOnRanks(2, Arguments("run", "a", {"mesh.shard=4"}));
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.err, HasSubstr("but the run has 2 processes"));
}

}  // namespace
}  // namespace rtpurbo::testing
