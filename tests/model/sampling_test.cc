#include "model/sampling.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "gmock/gmock.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class SamplingTest : public ::testing::Test {
 protected:
  std::int32_t Choose(const std::vector<float>& logits, Sampling sampling,
                      std::int64_t index = 0, DType dtype = DType::kF32) {
    const auto V = static_cast<std::int64_t>(logits.size());
    const ExecContext ctx = device_->ctx();
    return ChooseToken(ctx, sampling, index,
                       FromFloats(ctx, dtype, logits, {V}));
  }
  std::map<std::int32_t, int> Draws(const std::vector<float>& logits,
                                    const Sampling& sampling, int count) {
    std::map<std::int32_t, int> counts;
    for (int i = 0; i < count; ++i) {
      ++counts[Choose(logits, sampling, i)];
    }
    return counts;
  }

 private:
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_F(SamplingTest, WithoutTemperatureItIsTheHighest) {
  EXPECT_EQ(Choose({1, 5, 2, 5}, {}), 1);
  EXPECT_EQ(Choose({kNan, -3, kNan}, {}), 1);
  EXPECT_EQ(Choose({-kInfinity, -kInfinity, -2}, {}, 0, DType::kBF16), 2);
}

TEST_F(SamplingTest, DrawsAsOftenAsTheSoftmaxSays) {
  const Sampling sampling{.temperature = 2, .top_p = 1, .seed = 7};
  const auto logit = [](double p) {
    return static_cast<float>(2 * std::log(p));
  };
  constexpr int kDraws = 20000;
  const auto counts =
      Draws({logit(0.1), logit(0.6), logit(0.3), -kInfinity}, sampling, kDraws);
  ASSERT_EQ(counts.size(), 3U);
  for (const auto& [id, p] :
       std::map<int, double>{{0, 0.1}, {1, 0.6}, {2, 0.3}}) {
    EXPECT_NEAR(counts.at(id), kDraws * p, 4 * std::sqrt(kDraws * p * (1 - p)));
  }
}

TEST_F(SamplingTest, TopPKeepsTheFewestThatHoldTheMass) {
  const std::vector<float> logits = {std::log(0.2F), std::log(0.5F),
                                     std::log(0.05F), std::log(0.25F)};
  Sampling sampling{.temperature = 1, .top_p = 0.5 - 1e-6, .seed = 1};
  EXPECT_EQ(Draws(logits, sampling, 200).size(), 1U);
  sampling.top_p = 0.6;
  const auto two = Draws(logits, sampling, 400);
  EXPECT_THAT(two, ElementsAre(Pair(1, ::testing::Gt(200)),
                               Pair(3, ::testing::Gt(80))));
  sampling.top_p = 0.94;
  EXPECT_EQ(Draws(logits, sampling, 400).count(2), 0U);
}

TEST_F(SamplingTest, OfEqualTokensTheLowerIsKept) {
  const Sampling sampling{.temperature = 1, .top_p = 0.5, .seed = 3};
  const auto counts = Draws({1, 1, 1, 1}, sampling, 100);
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts.rbegin()->first, 1);
}

TEST_F(SamplingTest, ADrawDependsOnSeedAndIndexAlone) {
  const std::vector<float> logits(50, 0.0F);
  Sampling sampling{.temperature = 1, .top_p = 1, .seed = 5};
  std::vector<std::int32_t> first;
  for (int i = 0; i < 20; ++i) {
    first.push_back(Choose(logits, sampling, i));
  }
  for (int i = 19; i >= 0; --i) {
    EXPECT_EQ(Choose(logits, sampling, i), first[static_cast<std::size_t>(i)]);
  }
  sampling.seed = 6;
  std::vector<std::int32_t> second;
  for (int i = 0; i < 20; ++i) {
    second.push_back(Choose(logits, sampling, i));
  }
  EXPECT_NE(first, second);
}

TEST_F(SamplingTest, NanAndInfinityAreNoTrouble) {
  const Sampling sampling{.temperature = 1, .top_p = 1, .seed = 5};
  EXPECT_EQ(Draws({kNan, 3, kNan, -kInfinity}, sampling, 50).size(), 1U);
  EXPECT_EQ(Draws({0, kInfinity, 0}, sampling, 50).count(1), 1U);
  EXPECT_GT(Draws({kNan, kNan}, sampling, 50).size(), 1U);
}

}  // namespace
}  // namespace rtpurbo::testing
