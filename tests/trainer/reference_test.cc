// A teacher against what the field's standard implementation computes for it
// (transformers, float32; tests/data/reference).
//
// RTPURBO_TEACHER and RTPURBO_REFERENCE name another teacher's folder and the
// path of its reference without ".json": tests/reference/check.sh does so.

#include <cmath>
#include <cstdio>
#include <cstdlib>
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
#include "trainer/model_input.h"
#include "trainer/stages/head_calibration.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {
namespace {

using Json = nlohmann::json;

std::string FromEnvironment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

class ReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string data =
        std::string(std::getenv("RTPURBO_ROOT")) + "/tests/data/";
    const std::string teacher =
        FromEnvironment("RTPURBO_TEACHER", data + "tiny");
    const std::string reference =
        FromEnvironment("RTPURBO_REFERENCE", data + "reference/tiny");
    Transformer::Options options;
    options.max_positions = 4096;
    options.comm = &alone_;
    auto model = LoadTransformer(ctx(), RealFileSystem(), teacher, options);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto tensors = SafetensorsFolder::OpenFile(RealFileSystem(),
                                               reference + ".safetensors");
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    tensors_ = std::make_unique<SafetensorsFolder>(*std::move(tensors));
    json_ = Json::parse(*RealFileSystem().ReadFile(reference + ".json"));
  }

  ExecContext ctx() const { return device_->ctx(); }
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
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<SafetensorsFolder> tensors_;
  Json json_;
};

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

TEST_F(ReferenceTest, LogitsOfTheLast48RowsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("passage.ids"), 48, DenseMap(config()));
  EXPECT_LE(RelativeError("logits", logits, Floats("passage.logits_last48")),
            1e-4);
}

// A router tie may send a token to another expert; every row after it may then
// differ. At most one such row in 384.
TEST_F(ReferenceTest, LogSumsOfAllRowsAreTheSame) {
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

TEST_F(ReferenceTest, RowsAfterEachLayerAreTheSame) {
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

TEST_F(ReferenceTest, NeedleScoresAreTheSame) {
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

TEST_F(ReferenceTest, WindowedLogitsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("needle.ids"), 32, Windowed(Json::array()));
  EXPECT_LE(RelativeError("windowed logits", logits,
                          Floats("window256_sink4.logits_last32")),
            1e-4);
}

TEST_F(ReferenceTest, HybridLogitsAreTheSame) {
  const std::vector<float> logits =
      Logits(Ids("needle.ids"), 32, Windowed(json()["hybrid_heads"]));
  EXPECT_LE(RelativeError("hybrid logits", logits,
                          Floats("hybrid256_sink4.logits_last32")),
            1e-4);
}

}  // namespace
}  // namespace rtpurbo::testing
