#include "trainer/exporter.h"

#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "data/safetensors.h"
#include "kernels/core/bf16.h"
#include "nlohmann/json.hpp"
#include "tests/data/failing_file_system.h"
#include "tests/model/random_model.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/small_teacher.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

FileSystem& Files() {
  return RealFileSystem();
}

// Name, type and shape of each tensor, in order.
std::vector<std::string> HeaderOf(const std::string& folder) {
  const auto weights = *SafetensorsFolder::Open(Files(), folder);
  std::vector<std::string> lines;
  for (const auto& file : weights.files()) {
    for (const SafetensorsEntry& entry : file->header.entries) {
      std::string line = entry.name + " " + entry.dtype;
      for (const std::int64_t size : entry.shape) {
        line += " " + std::to_string(size);
      }
      lines.push_back(std::move(line));
    }
  }
  return lines;
}

std::string RawOf(const std::string& folder, const std::string& name) {
  const auto weights = *SafetensorsFolder::Open(Files(), folder);
  const Bytes raw = *weights.Raw(name);
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

class ExporterTest : public ::testing::Test {
 protected:
  std::string teacher() const { return folder_ / "teacher"; }
  std::string out() const { return folder_ / "export"; }

  std::unique_ptr<Transformer> Load(const Loader& loader,
                                    const std::string& folder) const {
    auto model =
        LoadTransformer(loader.ctx(), Files(), folder, loader.options());
    EXPECT_OK(model);
    return *std::move(model);
  }
  // Adds a little to every weight.
  static void Train(Transformer* model) {
    for (const Transformer::Group& group : model->groups()) {
      float* const values = group.params->shard().data<float>();
      for (std::int64_t i = 0; i < group.params->shard().size(); ++i) {
        values[i] = values[i] * 1.01F + 0.001F;
      }
    }
  }

  TemporaryDirectory folder_{TemporaryDirectory::Where::kInMemory};
};

TEST_F(ExporterTest, AnUntrainedTinyIsTheTeacherBitForBit) {
  const std::string tiny =
      std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/tiny";
  const Loader loader(kAllRoles);
  const auto model = Load(loader, tiny);
  SparseMode mode;
  mode.map = LocalMap(model->config());
  mode.map.layers[2].retrieval_H[5] = true;
  mode.map.window = 256;
  mode.map.sinks = 4;
  mode.dense_below = 512;
  ASSERT_OK(ExportModel(Files(), *model, mode, tiny, out()));
  EXPECT_EQ(HeaderOf(out()), HeaderOf(tiny));
  EXPECT_GT(HeaderOf(out()).size(), 100U);
  const auto weights = *SafetensorsFolder::Open(Files(), tiny);
  for (const std::string& name : weights.names()) {
    EXPECT_EQ(RawOf(out(), name), RawOf(tiny, name)) << name;
  }
  EXPECT_EQ(
      weights.files()[0]->header.metadata,
      SafetensorsFolder::Open(Files(), out())->files()[0]->header.metadata);
  EXPECT_EQ(*Files().ReadFile(JoinPath(out(), "tokenizer.json")),
            *Files().ReadFile(JoinPath(tiny, "tokenizer.json")));
}

TEST_F(ExporterTest, TrainedWeightsComeBackRoundedToTheTeachersType) {
  for (const char* dtype : {"BF16", "F16", "F32"}) {
    WriteSmallTeacher(teacher(), {.dtype = dtype});
    const Loader loader(kAllRoles);
    const auto model = Load(loader, teacher());
    Train(model.get());
    const SparseMode mode = SmallMode(loader.ctx(), model->config());
    ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
    EXPECT_EQ(HeaderOf(out()), HeaderOf(teacher()));
    ASSERT_OK_AND_ASSIGN(
        const ConvertedModel again,
        LoadConverted(loader.ctx(), Files(), out(), loader.options()));
    const std::vector<float> expected = WeightsOf(*model);
    const std::vector<float> actual = WeightsOf(*again.model);
    ASSERT_EQ(actual.size(), expected.size());
    const float unit = dtype == std::string("BF16")  ? 0x1p-8F
                       : dtype == std::string("F16") ? 0x1p-11F
                                                     : 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i],
                  unit * std::abs(expected[i]) + unit * 0x1p-14F);
      if (dtype == std::string("BF16")) {
        ASSERT_EQ(actual[i], static_cast<float>(BFloat16(expected[i])));
      }
    }
  }
}

TEST_F(ExporterTest, UnchangedWeightsKeepBitsThatTheModelDoesNotHold) {
  WriteSmallTeacher(teacher(), {.dtype = "F32"});
  const Loader loader({}, DType::kBF16);  // frozen: rounded when loaded
  const auto model = Load(loader, teacher());
  BFloat16* const norm =
      model->groups().back().params->shard().data<BFloat16>();
  norm[2] = BFloat16(3.25F);
  const SparseMode mode = SmallMode(loader.ctx(), model->config());
  ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
  const std::string name = "model.embed_tokens.weight";
  EXPECT_EQ(RawOf(out(), name), RawOf(teacher(), name));
  std::vector<float> before(16);
  std::vector<float> after(16);
  ASSERT_OK(SafetensorsFolder::Open(Files(), teacher())
                ->ReadF32("model.norm.weight", 0, before));
  ASSERT_OK(SafetensorsFolder::Open(Files(), out())
                ->ReadF32("model.norm.weight", 0, after));
  before[2] = 3.25F;
  EXPECT_EQ(after, before);
}

TEST_F(ExporterTest, ModeMapAndProjectionsComeBack) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  const SparseMode mode = SmallMode(loader.ctx(), model->config());
  ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
  ASSERT_OK_AND_ASSIGN(
      const ConvertedModel again,
      LoadConverted(loader.ctx(), Files(), out(), loader.options()));
  EXPECT_EQ(again.mode.dense_below, 16);
  EXPECT_EQ(again.mode.map.window, 5);
  EXPECT_EQ(again.mode.map.sinks, 2);
  EXPECT_EQ(again.mode.selection.top_p, 0.7);
  for (std::size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(again.mode.map.layers[l].retrieval_H,
              mode.map.layers[l].retrieval_H);
    EXPECT_EQ(ToFloats(loader.ctx(), again.mode.projections->layers[l].wk_SRC),
              ToFloats(loader.ctx(), mode.projections->layers[l].wk_SRC));
  }
}

TEST_F(ExporterTest, ConfigHasOneMoreKeyAndNoOtherChange) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  ASSERT_OK(ExportModel(Files(), *model,
                        SmallMode(loader.ctx(), model->config()), teacher(),
                        out()));
  Json config = Json::parse(*Files().ReadFile(JoinPath(out(), "config.json")));
  EXPECT_EQ(config["headwise_config"].dump(),
            R"({"sink_token_num":2,"swa_token_num":5,"seqlen_threshold":17,)"
            R"("0":[0,1,0,0],"1":[1,0,0,1]})");
  config.erase("headwise_config");
  EXPECT_EQ(config.dump(),
            Json::parse(*Files().ReadFile(JoinPath(teacher(), "config.json")))
                .dump());
  EXPECT_EQ(*Files().ReadFile(JoinPath(out(), "tokenizer_config.json")),
            "{\"kept\": \"as it is\"}");
}

TEST_F(ExporterTest, AHeadOfItsOwnAndACopyOfATiedOneAreBothWritten) {
  for (const bool tied : {false, true}) {
    WriteSmallTeacher(teacher(), {.tied = tied, .head_copy = tied});
    const Loader loader(kAllRoles);
    const auto model = Load(loader, teacher());
    Train(model.get());
    ASSERT_OK(ExportModel(Files(), *model,
                          SmallMode(loader.ctx(), model->config()), teacher(),
                          out()));
    EXPECT_EQ(HeaderOf(out()), HeaderOf(teacher()));
    EXPECT_EQ(RawOf(out(), "lm_head.weight") ==
                  RawOf(out(), "model.embed_tokens.weight"),
              tied);
    EXPECT_NE(RawOf(out(), "lm_head.weight"),
              RawOf(teacher(), "lm_head.weight"));
  }
}

TEST_F(ExporterTest, ShardsHoldTheSameTensors) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  ASSERT_OK(ExportModel(Files(), *model,
                        SmallMode(loader.ctx(), model->config()), teacher(),
                        out(), {.max_shard_bytes = 2000}));
  EXPECT_EQ(HeaderOf(out()), HeaderOf(teacher()));
  EXPECT_GT(SafetensorsFolder::Open(Files(), out())->files().size(), 2U);
}

TEST_F(ExporterTest, ThePlainTeacherLoadsAsADenseModel) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  ASSERT_OK_AND_ASSIGN(
      const ConvertedModel plain,
      LoadConverted(loader.ctx(), Files(), teacher(), loader.options()));
  EXPECT_EQ(plain.mode.map.num_retrieval(), 8);
  EXPECT_EQ(plain.mode.projections, nullptr);
  EXPECT_EQ(plain.mode.dense_below, DenseMode(SmallConfig()).dense_below);
}

TEST_F(ExporterTest, AModeWithoutIndexerHasNoProjections) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  SparseMode mode = SmallMode(loader.ctx(), model->config());
  ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
  mode.projections = nullptr;  // the older export had some
  ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
  EXPECT_THAT(
      *Files().List(out()),
      ElementsAre("config.json", "model.safetensors", "tokenizer_config.json"));
  ASSERT_OK_AND_ASSIGN(
      const ConvertedModel again,
      LoadConverted(loader.ctx(), Files(), out(), loader.options()));
  EXPECT_EQ(again.mode.projections, nullptr);
  EXPECT_EQ(again.mode.map.num_retrieval(), 3);
  EXPECT_EQ(again.mode.dense_below, 16);
}

TEST_F(ExporterTest, ConfigAndProjectionsMustAgree) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  ASSERT_OK(ExportModel(Files(), *model,
                        SmallMode(loader.ctx(), model->config()), teacher(),
                        out()));
  const std::string path = JoinPath(out(), "config.json");
  const Json good = Json::parse(*Files().ReadFile(path));
  const auto error = [&](const char* key, const Json& value) {
    Json config = good;
    config["headwise_config"][key] = value;
    EXPECT_OK(Files().WriteFileAtomically(path, config.dump()));
    return LoadConverted(loader.ctx(), Files(), out(), loader.options())
        .status();
  };
  constexpr auto kUnfit = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(error("seqlen_threshold", 18),
              StatusIs(kUnfit, AllOf(HasSubstr("18"), HasSubstr("17"))));
  EXPECT_THAT(error("swa_token_num", 6), StatusIs(kUnfit, HasSubstr("window")));
  EXPECT_THAT(error("swa_token_num", "6"),
              StatusIs(kUnfit, HasSubstr("swa_token_num")));
  EXPECT_THAT(error("0", {0, 1, 0}), StatusIs(kUnfit, HasSubstr("\"0\"")));
  EXPECT_THAT(error("0", {0, 1, 1, 0}), StatusIs(kUnfit, HasSubstr("heads")));
}

TEST_F(ExporterTest, WhatIsNoExportIsNotReplaced) {
  WriteSmallTeacher(teacher());
  const Loader loader;
  const auto model = Load(loader, teacher());
  const SparseMode mode = SmallMode(loader.ctx(), model->config());
  EXPECT_THAT(ExportModel(Files(), *model, mode, teacher(), teacher()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("no exported model")));
  ASSERT_OK(Files().CreateDirectories(folder_ / "notes"));
  ASSERT_OK(Files().WriteFileAtomically(folder_ / "notes/a", "b"));
  EXPECT_THAT(ExportModel(Files(), *model, mode, teacher(), folder_ / "notes"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(
      ExportModel(Files(), *model, mode, teacher(), folder_ / "notes/a"),
      StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(*Files().List(folder_.path()), ElementsAre("notes", "teacher"));
}

TEST_F(ExporterTest, AnotherModelsFolderIsNoTeacher) {
  WriteSmallTeacher(teacher(), {.tied = false});
  WriteSmallTeacher(folder_ / "other");
  const Loader loader;
  const auto model = Load(loader, teacher());
  EXPECT_THAT(
      ExportModel(Files(), *model, SmallMode(loader.ctx(), model->config()),
                  folder_ / "other", out()),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               HasSubstr("other holds 34 tensors, but the model 35")));
}

TEST_F(ExporterTest, AWeightThatIsNoNumberIsNotExported) {
  WriteSmallTeacher(teacher());
  const Loader loader(kAllRoles);
  const auto model = Load(loader, teacher());
  model->groups().back().params->shard().data<float>()[7] = std::nanf("");
  EXPECT_THAT(
      ExportModel(Files(), *model, SmallMode(loader.ctx(), model->config()),
                  teacher(), out()),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               HasSubstr("element 7 of model.norm.weight is nan")));
  EXPECT_THAT(*Files().List(folder_.path()), ElementsAre("teacher"));
}

TEST_F(ExporterTest, AFailedExportLeavesTheOldOneOrTheNewOneWhole) {
  WriteSmallTeacher(teacher());
  const Loader loader(kAllRoles);
  const auto model = Load(loader, teacher());
  SparseMode mode = SmallMode(loader.ctx(), model->config());
  ASSERT_OK(ExportModel(Files(), *model, mode, teacher(), out()));
  const std::string old = RawOf(out(), "model.norm.weight");
  Train(model.get());
  mode.dense_below = 99;
  int failures = 0;
  for (std::int64_t k = 1;; ++k) {
    FailingFileSystem files(Files());
    files.FailOnce(k, ENOSPC);
    const absl::Status status =
        ExportModel(files, *model, mode, teacher(), out());
    if (status.ok() && files.calls() < k) {
      break;
    }
    failures += status.ok() ? 0 : 1;
    const auto again =
        LoadConverted(loader.ctx(), Files(), out(), loader.options());
    ASSERT_OK(again) << "call " << k;
    const bool is_old = again->mode.dense_below == 16;
    EXPECT_EQ(RawOf(out(), "model.norm.weight") == old, is_old);
    EXPECT_TRUE(is_old || again->mode.dense_below == 99);
  }
  EXPECT_GE(failures, 50);
  EXPECT_THAT(*Files().List(folder_.path()), ElementsAre("export", "teacher"));
}

}  // namespace
}  // namespace rtpurbo::testing
