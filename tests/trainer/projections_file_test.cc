#include "trainer/projections_file.h"

#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "data/safetensors.h"
#include "data/safetensors_writer.h"
#include "tests/data/failing_file_system.h"
#include "tests/model/small_config.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/small_teacher.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Metadata = std::map<std::string, std::string>;

class ProjectionsFileTest : public ::testing::Test {
 protected:
  ExecContext ctx() const { return loader_.ctx(); }
  SparseMode Mode() const { return SmallMode(ctx(), SmallConfig()); }
  absl::Status Write(const SparseMode& mode) const {
    return WriteProjections(ctx(), RealFileSystem(), folder_.path(), mode);
  }
  absl::StatusOr<SparseMode> Read(const HeadMap& map) const {
    return ReadProjections(ctx(), RealFileSystem(), folder_.path(),
                           SmallConfig(), map);
  }
  std::string path() const { return folder_ / kProjectionsFile; }
  std::string Contents() const { return *RealFileSystem().ReadFile(path()); }

  // Writes the file again with other metadata and tensors, and reads it.
  absl::Status ReadChanged(
      const std::function<void(Metadata* metadata,
                               std::vector<SafetensorsSpec>* specs)>& change,
      float value = 1) {
    EXPECT_OK(Write(Mode()));
    SafetensorsOptions options;
    options.stem = "projections";
    std::vector<SafetensorsSpec> specs;
    {
      const auto file = *SafetensorsFolder::OpenFile(RealFileSystem(), path());
      options.metadata = file.files()[0]->header.metadata;
      for (const SafetensorsEntry& entry : file.files()[0]->header.entries) {
        specs.push_back({entry.name, entry.dtype, entry.shape});
      }
    }
    change(&options.metadata, &specs);
    auto writer = *SafetensorsWriter::Create(RealFileSystem(), folder_.path(),
                                             specs, options);
    for (const SafetensorsSpec& spec : specs) {
      const std::vector<float> values(
          static_cast<std::size_t>(NumElements(spec.shape)), value);
      EXPECT_OK(writer->Write(spec.name, 0, std::span<const float>(values)));
    }
    EXPECT_OK(writer->Finish());
    return Read(Mode().map).status();
  }
  absl::Status ReadWith(const char* key, const char* value) {
    return ReadChanged(
        [&](Metadata* metadata, auto*) { (*metadata)[key] = value; });
  }

  TemporaryDirectory folder_{TemporaryDirectory::Where::kInMemory};

 private:
  Loader loader_;
};

void ExpectSame(const ExecContext& ctx, const SparseMode& a,
                const SparseMode& b) {
  EXPECT_EQ(a.dense_below, b.dense_below);
  EXPECT_EQ(a.selection.rule, b.selection.rule);
  EXPECT_EQ(a.selection.order, b.selection.order);
  EXPECT_EQ(a.selection.top_p, b.selection.top_p);
  EXPECT_EQ(a.selection.top_k, b.selection.top_k);
  EXPECT_EQ(a.selection.block, b.selection.block);
  EXPECT_EQ(a.selection.sinks, b.selection.sinks);
  EXPECT_EQ(a.selection.recent, b.selection.recent);
  EXPECT_EQ(ToText(a.map), ToText(b.map));
  EXPECT_EQ(a.projections->width, b.projections->width);
  for (std::size_t l = 0; l < 2; ++l) {
    const IndexProjections::Layer& x = a.projections->layers[l];
    const IndexProjections::Layer& y = b.projections->layers[l];
    EXPECT_EQ(x.head_S, y.head_S);
    EXPECT_EQ(x.kv_head_S, y.kv_head_S);
    if (x.empty()) {
      EXPECT_FALSE(y.wq_SRC.defined() || y.wk_SRC.defined());
      continue;
    }
    EXPECT_EQ(x.wq_SRC.shape(), y.wq_SRC.shape());
    EXPECT_EQ(ToFloats(ctx, x.wq_SRC), ToFloats(ctx, y.wq_SRC));
    EXPECT_EQ(ToFloats(ctx, x.wk_SRC), ToFloats(ctx, y.wk_SRC));
  }
}

TEST_F(ProjectionsFileTest, ReadsBackAllThatWasWritten) {
  SparseMode mode = Mode();
  ASSERT_OK(Write(mode));
  ASSERT_OK_AND_ASSIGN(const SparseMode again, Read(mode.map));
  ExpectSame(ctx(), again, mode);

  mode.selection.rule = kernels::Selection::Rule::kTopK;
  mode.selection.order = kernels::Selection::Order::kMass;
  mode.selection.top_k = 123;
  mode.selection.top_p = 0.1 + 0.2;  // 17 digits
  mode.selection.block = 64;
  ASSERT_OK(Write(mode));
  ASSERT_OK_AND_ASSIGN(const SparseMode other, Read(mode.map));
  ExpectSame(ctx(), other, mode);
}

TEST_F(ProjectionsFileTest, NamesTensorsByLayerAndSaysWhatTheyAre) {
  ASSERT_OK(Write(Mode()));
  ASSERT_OK_AND_ASSIGN(const SafetensorsFolder file,
                       SafetensorsFolder::OpenFile(RealFileSystem(), path()));
  EXPECT_THAT(file.names(),
              ::testing::ElementsAre("layers.0.index_k", "layers.0.index_q",
                                     "layers.1.index_k", "layers.1.index_q"));
  EXPECT_EQ((*file.Find("layers.1.index_q"))->shape, (Shape{2, 4, 8}));
  const Metadata& metadata = file.files()[0]->header.metadata;
  EXPECT_EQ(metadata.at("layers.1.heads"), "0,3");
  EXPECT_EQ(metadata.at("width"), "4");
  EXPECT_EQ(metadata.at("top_p"), "0.7");
  EXPECT_EQ(metadata.at("granularity"), "token");
}

TEST_F(ProjectionsFileTest, LayersWithoutRetrievalHeadsHaveNoTensors) {
  SparseMode mode = Mode();
  mode.map.layers[0].retrieval_H.assign(4, false);
  auto projections = std::make_shared<IndexProjections>(*mode.projections);
  projections->layers[0] = {};
  mode.projections = projections;
  ASSERT_OK(Write(mode));
  ASSERT_OK_AND_ASSIGN(const SparseMode again, Read(mode.map));
  ExpectSame(ctx(), again, mode);
  EXPECT_TRUE(again.projections->layers[0].empty());
}

TEST_F(ProjectionsFileTest, TheSameModeGivesTheSameBytes) {
  ASSERT_OK(Write(Mode()));
  const std::string first = Contents();
  ASSERT_OK(Write(Mode()));
  EXPECT_EQ(Contents(), first);
}

TEST_F(ProjectionsFileTest, TakesTheFingerprintOfTheFileIfTheMapHasNone) {
  ASSERT_OK(Write(Mode()));
  HeadMap map = Mode().map;
  map.model_fingerprint.clear();
  ASSERT_OK_AND_ASSIGN(const SparseMode again, Read(map));
  EXPECT_EQ(again.map.model_fingerprint, "0123abcd");
  map.model_fingerprint = "another";
  EXPECT_THAT(Read(map), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  HasSubstr("model_fingerprint = 0123abcd")));
}

TEST_F(ProjectionsFileTest, ProjectionsOfAnotherMapAreRefused) {
  ASSERT_OK(Write(Mode()));
  HeadMap map = Mode().map;
  map.layers[1].retrieval_H[2] = true;
  EXPECT_THAT(Read(map),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(path()),
                             HasSubstr("layers.1.heads = 0,3, but the head map "
                                       "has 0,2,3"))));
  map = Mode().map;
  map.layers[0].retrieval_H[1] = false;
  EXPECT_THAT(Read(map), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  HasSubstr("holds layers.0.index_")));
  map = Mode().map;
  map.window = 6;
  EXPECT_THAT(Read(map), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  HasSubstr("window = 5")));
  map = Mode().map;
  map.sinks = 1;
  EXPECT_THAT(Read(map), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  HasSubstr("sinks = 2")));
}

TEST_F(ProjectionsFileTest, WhatIsMissingOrMalformedIsNamed) {
  constexpr auto kUnfit = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(Read(Mode().map),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path())));
  EXPECT_THAT(ReadWith("version", "2"), StatusIs(kUnfit, HasSubstr("version")));
  EXPECT_THAT(ReadWith("format", "x"), StatusIs(kUnfit, HasSubstr("format")));
  EXPECT_THAT(ReadWith("rule", "all"), StatusIs(kUnfit, HasSubstr("rule")));
  EXPECT_THAT(ReadWith("order", "up"), StatusIs(kUnfit, HasSubstr("order")));
  EXPECT_THAT(ReadWith("top_p", "nan"), StatusIs(kUnfit, HasSubstr("top_p")));
  EXPECT_THAT(ReadWith("block", "0"), StatusIs(kUnfit, HasSubstr("block")));
  EXPECT_THAT(ReadWith("block", "64"),
              StatusIs(kUnfit, HasSubstr("granularity")));
  EXPECT_THAT(ReadWith("width", "1000000000000"),
              StatusIs(kUnfit, HasSubstr("width")));
  EXPECT_THAT(ReadChanged([](Metadata* metadata, auto*) {
                metadata->erase("dense_below");
              }),
              StatusIs(kUnfit, HasSubstr("has no dense_below")));
  EXPECT_THAT(ReadWith("width", "5"),
              StatusIs(kUnfit, AllOf(HasSubstr("layers.0.index_q is F32 of "
                                               "shape [1, 4, 8]"),
                                     HasSubstr("F32 of [1, 5, 8]"))));
  EXPECT_THAT(ReadChanged([](auto*, std::vector<SafetensorsSpec>* specs) {
                (*specs)[3].dtype = "BF16";
              }),
              StatusIs(kUnfit, HasSubstr("BF16")));
  EXPECT_THAT(ReadChanged([](auto*, std::vector<SafetensorsSpec>* specs) {
                specs->pop_back();
              }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("layers.1")));
}

TEST_F(ProjectionsFileTest, NumbersThatAreNoneAreDamage) {
  EXPECT_THAT(ReadChanged([](auto*, auto*) {}, std::nanf("")),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("layers.0.index_q holds nan")));
}

TEST_F(ProjectionsFileTest, AnOldFileSurvivesAFailedWrite) {
  ASSERT_OK(Write(Mode()));
  const std::string old = Contents();
  SparseMode mode = Mode();
  mode.dense_below = 99;
  int failures = 0;
  for (std::int64_t k = 1;; ++k) {
    FailingFileSystem files(RealFileSystem());
    files.FailFrom(k, ENOSPC);
    if (WriteProjections(ctx(), files, folder_.path(), mode).ok()) {
      break;
    }
    ++failures;
    EXPECT_OK(Read(mode.map)) << "after call " << k;
  }
  EXPECT_GE(failures, 5);
  EXPECT_NE(Contents(), old);
}

}  // namespace
}  // namespace rtpurbo::testing
