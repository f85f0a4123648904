// A teacher against what the field's standard implementation computes for it
// (transformers, float32; tests/data/reference), on each device of the build;
// and a training step of it on one device against the other.
//
// RTPURBO_TEACHER and RTPURBO_REFERENCE name another teacher's folder and the
// path of its reference without ".json": tests/reference/check.sh does so.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "data/safetensors.h"
#include "dist/solo_communicator.h"
#include "gtest/gtest.h"
#include "model/attention.h"
#include "nlohmann/json.hpp"
#include "tests/device_test.h"
#include "tests/trainer/grad_norm.h"
#include "trainer/model_input.h"
#include "trainer/optimizer.h"
#include "trainer/stages/head_calibration.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

using Json = nlohmann::json;

std::string FromEnvironment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::string DataFolder() {
  return std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/";
}
std::string Reference() {
  return FromEnvironment("RTPURBO_REFERENCE", DataFolder() + "reference/tiny");
}

std::unique_ptr<Transformer> Teacher(const ExecContext& ctx,
                                     Transformer::Options options) {
  options.max_positions = 4096;
  auto model = LoadTransformer(
      ctx, RealFileSystem(),
      FromEnvironment("RTPURBO_TEACHER", DataFolder() + "tiny"), options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

class ReferenceTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    Transformer::Options options;
    options.comm = &alone_;
    model_ = Teacher(ctx(), options);
    ASSERT_NE(model_, nullptr);
    const std::string reference = Reference();
    auto tensors = SafetensorsFolder::OpenFile(RealFileSystem(),
                                               reference + ".safetensors");
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    tensors_ = std::make_unique<SafetensorsFolder>(*std::move(tensors));
    json_ = Json::parse(*RealFileSystem().ReadFile(reference + ".json"));
  }

  const ModelConfig& config() const { return model_->config(); }
  Transformer& model() { return *model_; }
  const Json& json() const { return json_; }

  std::vector<float> Floats(const std::string& name) const {
    const SafetensorsEntry* entry = *tensors_->Find(name);
    std::vector<float> values(
        static_cast<std::size_t>(NumElements(entry->shape)));
    EXPECT_TRUE(tensors_->ReadF32(name, 0, values).ok());
    return values;
  }
  bool Has(const std::string& name) const { return tensors_->Has(name); }
  std::vector<std::int32_t> Ids(const std::string& name) const {
    const Bytes raw = *tensors_->Raw(name);
    std::vector<std::int32_t> ids(raw.size() / sizeof(std::int32_t));
    std::memcpy(ids.data(), raw.data(), raw.size());
    return ids;
  }

  std::vector<float> Logits(const std::vector<std::int32_t>& ids,
                            std::int64_t rows, const HeadMap& map) {
    Tape tape(ctx(), Tape::Mode::kOff);
    const Var x = model_->Hidden(tape, MakeInput(ctx(), ids, rows),
                                 RangeAttend(MakePatterns(config(), map)));
    return ToFloats(ctx(), model_->Logits(tape, x).value());
  }
  HeadMap Windowed(const Json& dense_heads) const {
    HeadMap map = LocalMap(config());
    map.window = 256;
    map.sinks = 4;
    for (const Json& head : dense_heads) {
      map.layers[head[0].get<std::size_t>()]
          .retrieval_H[head[1].get<std::size_t>()] = true;
    }
    return map;
  }

 private:
  SoloCommunicator alone_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<SafetensorsFolder> tensors_;
  Json json_;
};

INSTANTIATE_TEST_SUITE_P(Devices, ReferenceTest, ::testing::ValuesIn(Devices()),
                         [](const auto& p) { return DeviceName(p.param); });

// The largest difference over the largest value; printed, for BENCHMARKS.md.
double RelativeError(const char* what, const std::vector<float>& actual,
                     const std::vector<float>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference =
        std::max(difference, std::abs(static_cast<double>(actual[i]) -
                                      static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  std::printf("%s: largest difference %.3g, relative %.3g\n", what, difference,
              difference / largest);
  return difference / largest;
}

TEST_P(ReferenceTest, LogitsOfTheLast48RowsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("passage.ids"), 48, DenseMap(config()));
  EXPECT_LE(RelativeError("logits", logits, Floats("passage.logits_last48")),
            1e-4);
}

// A router tie may send a token to another expert; every row after it may then
// differ. At most one such row in 384.
TEST_P(ReferenceTest, LogSumsOfAllRowsAreTheSame) {
  const std::vector<std::int32_t> ids = Ids("passage.ids");
  const auto T = static_cast<std::int64_t>(ids.size());
  const std::vector<float> logits = Logits(ids, T, DenseMap(config()));
  const std::vector<float> expected = Floats("passage.lse");
  const std::vector<float> top = Floats("passage.top10_logits");
  const double largest = std::abs(*std::max_element(top.begin(), top.end()));
  const auto V = static_cast<std::size_t>(config().vocab_size);
  int flips = 0;
  double worst = 0;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    double sum = 0;
    for (std::size_t v = 0; v < V; ++v) {
      sum += std::exp(static_cast<double>(logits[t * V + v]));
    }
    const double error = std::abs(std::log(sum) - expected[t]);
    if (error > 1e-4 * largest) {
      ++flips;
    } else {
      worst = std::max(worst, error);
    }
  }
  std::printf("log-sums: %d rows differ, others by %.3g at most\n", flips,
              worst);
  EXPECT_LE(flips, 1);
}

TEST_P(ReferenceTest, RowsAfterEachLayerAreTheSame) {
  const std::vector<std::int32_t> ids = Ids("passage.ids");
  const auto T = static_cast<std::int64_t>(ids.size());
  const Attend dense = RangeAttend(MakePatterns(config(), DenseMap(config())));
  int compared = 0;
  // The last one in the reference is after the final norm.
  for (std::int64_t layers = 0; layers < config().num_layers; ++layers) {
    const std::string name = "passage.hidden." + std::to_string(layers);
    if (!Has(name)) {
      continue;  // a reference holds some layers only
    }
    Tape tape(ctx(), Tape::Mode::kOff);
    const Tensor x =
        model()
            .AfterBlocks(tape, MakeInput(ctx(), ids, T), dense, layers)
            .value();
    EXPECT_LE(RelativeError(name.c_str(), ToFloats(ctx(), x.Slice(T - 32, T)),
                            Floats(name)),
              1e-4);
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

TEST_P(ReferenceTest, NeedleScoresAreTheSame) {
  const auto range = [&](const char* key) {
    return kernels::RowRange{json()["needle"][key][0],
                             json()["needle"][key][1]};
  };
  const std::vector<float> scores =
      NeedleScores(model(), Ids("needle.ids"), range("post"), range("pre"));
  const std::vector<float> expected = Floats("needle.head_scores");
  ASSERT_EQ(scores.size(), expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    worst =
        std::max(worst, std::abs(static_cast<double>(scores[i]) - expected[i]));
  }
  std::printf("needle scores: differ by %.3g at most\n", worst);
  EXPECT_LE(worst, 1e-5);
}

TEST_P(ReferenceTest, WindowedLogitsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("needle.ids"), 32, Windowed(Json::array()));
  EXPECT_LE(RelativeError("windowed logits", logits,
                          Floats("window256_sink4.logits_last32")),
            1e-4);
}

TEST_P(ReferenceTest, HybridLogitsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("needle.ids"), 32, Windowed(json()["hybrid_heads"]));
  EXPECT_LE(RelativeError("hybrid logits", logits,
                          Floats("hybrid256_sink4.logits_last32")),
            1e-4);
}

// What the teacher says of the passage, computed on the CPU in f32.
struct HostLabels {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> token_LK;
  std::vector<float> logit_LK;
  std::vector<float> lse_L;
};
constexpr std::int64_t kLabelRows = 200;
constexpr std::int64_t kTopK = 10;

HostLabels LabelsOfThePassage() {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  SoloCommunicator alone;
  Transformer::Options options;
  options.comm = &alone;
  const auto model = Teacher(ctx, options);
  auto tensors = *SafetensorsFolder::OpenFile(RealFileSystem(),
                                              Reference() + ".safetensors");
  const Bytes raw = *tensors.Raw("passage.ids");
  HostLabels labels;
  labels.ids.resize(raw.size() / sizeof(std::int32_t));
  std::memcpy(labels.ids.data(), raw.data(), raw.size());
  const TopLabels top = TeacherLabels(
      *model, MakeInput(ctx, labels.ids, kLabelRows),
      RangeAttend(MakePatterns(model->config(), DenseMap(model->config()))),
      kTopK);
  labels.token_LK = ToHost<std::int32_t>(ctx, top.id_LK);
  labels.logit_LK = ToHost<float>(ctx, top.logit_LK);
  labels.lse_L = ToHost<float>(ctx, top.lse_L);
  return labels;
}

// Losses of a windowed student before each of a few steps of AdamW on all its
// weights.
std::vector<double> LossesOfSteps(DeviceType type, DType dtype,
                                  const HostLabels& host) {
  const auto device = *Device::Open(type);
  const ExecContext ctx = device->ctx();
  SoloCommunicator alone;
  Transformer::Options options;
  options.dtype = dtype;
  options.comm = &alone;
  options.trainable = {Role::kEmbedding, Role::kAttention, Role::kNorms,
                       Role::kRouter,    Role::kExperts,   Role::kHead};
  const auto model = Teacher(ctx, options);
  HeadMap map = LocalMap(model->config());
  map.window = 64;
  map.sinks = 4;
  const Attend attend = RangeAttend(MakePatterns(model->config(), map));
  const TopLabels labels = {FromHost(ctx, host.token_LK, {kLabelRows, kTopK}),
                            FromHost(ctx, host.logit_LK, {kLabelRows, kTopK}),
                            FromHost(ctx, host.lse_L, {kLabelRows})};
  Optimizer optimizer(ctx, TrainedTensors(*model), {});
  std::vector<double> losses;
  for (std::int64_t step = 0; step < 3; ++step) {
    Tape tape(ctx);
    const Var x =
        model->Hidden(tape, MakeInput(ctx, host.ids, kLabelRows), attend);
    const Var loss = LabelLoss(tape, *model, x, labels);
    losses.push_back(ToFloat(ctx, loss.value()) / kLabelRows);
    tape.Backward(loss, 1.0F / kLabelRows);
    optimizer.Step(step, 1e-4, GradNorm(optimizer));
  }
  return losses;
}

TEST(TrainingStepTest, LosesTheSameOnBothDevices) {
  if (const auto device = Device::Open(DeviceType::kCuda); !device.ok()) {
    GTEST_SKIP() << "skipped: " << device.status().message();
  }
  const HostLabels labels = LabelsOfThePassage();
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::kF32, 1e-4}, {DType::kBF16, 1e-2}}) {
    const auto cpu = LossesOfSteps(DeviceType::kCpu, dtype, labels);
    const auto cuda = LossesOfSteps(DeviceType::kCuda, dtype, labels);
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      std::printf("%s step %zu: loss %.7g on the CPU, %.7g on CUDA\n",
                  Name(dtype), i, cpu[i], cuda[i]);
      EXPECT_LE(std::abs(cuda[i] - cpu[i]), tolerance * cpu[i]) << i;
    }
    EXPECT_LT(cpu.back(), cpu.front());  // it learns
  }
}

}  // namespace
}  // namespace rtpurbo::testing
