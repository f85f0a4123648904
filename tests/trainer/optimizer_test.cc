#include "trainer/optimizer.h"

#include <cmath>
#include <memory>

#include "gtest/gtest.h"
#include "tests/device_test.h"
#include "tests/trainer/grad_norm.h"

namespace rtpurbo::testing {
namespace {

class OptimizerTest : public ::testing::Test {
 protected:
  ExecContext ctx() const { return device_->ctx(); }
  TrainedTensor Make(const std::vector<float>& weight,
                     const std::vector<float>& grad, float decay) const {
    const Shape shape = {static_cast<std::int64_t>(weight.size())};
    return {"w",
            FromHost(ctx(), weight, shape),
            FromHost(ctx(), grad, shape),
            decay,
            {{"w", shape, 0}},
            0};
  }

 private:
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
};

// The first step of Adam moves each weight by the learning rate against the
// sign of its gradient; decay is apart from it.
TEST_F(OptimizerTest, FirstStepIsTheSignAndTheDecay) {
  const TrainedTensor tensor = Make({1, -2, 3}, {0.5, -0.25, 0.1}, 0.1F);
  Optimizer::Options options;
  options.clip = 0;
  Optimizer optimizer(ctx(), {tensor}, options);
  optimizer.Step(0, 0.01, GradNorm(optimizer));
  const float lr = 0.01F;
  ExpectNear(ToHost<float>(ctx(), tensor.weight),
             {1 - lr * (1 + 0.1F * 1), -2 - lr * (-1 + 0.1F * -2),
              3 - lr * (1 + 0.1F * 3)},
             1e-5F);
  EXPECT_EQ(ToHost<float>(ctx(), tensor.grad), (std::vector<float>{0, 0, 0}));
}

TEST_F(OptimizerTest, NormIsOverAllTensors) {
  Optimizer optimizer(ctx(), {Make({0, 0}, {3, 0}, 0), Make({0}, {4}, 0)}, {});
  EXPECT_NEAR(GradNorm(optimizer), 5, 1e-6);
}

// Adam forgets a common scale of the gradients, its moments do not.
TEST_F(OptimizerTest, ClippingScalesGradientsToTheNormAllowed) {
  Optimizer::Options options;
  options.clip = 1;
  Optimizer clipped(ctx(), {Make({0, 0}, {30, 40}, 0)}, options);
  clipped.Step(0, 0.1, GradNorm(clipped));
  ExpectNear(ToHost<float>(ctx(), clipped.m()[0]), {0.06F, 0.08F}, 1e-6F);
  Optimizer below(ctx(), {Make({0, 0}, {0.3, 0.4}, 0)}, options);
  below.Step(0, 0.1, GradNorm(below));
  ExpectNear(ToHost<float>(ctx(), below.m()[0]), {0.03F, 0.04F}, 1e-6F);
}

// Against the update written out in f64.
TEST_F(OptimizerTest, ManyStepsFollowTheFormula) {
  const TrainedTensor tensor = Make({0.5}, {0}, 0.01F);
  Optimizer::Options options;
  options.clip = 0;
  Optimizer optimizer(ctx(), {tensor}, options);
  double w = 0.5;
  double m = 0;
  double v = 0;
  for (int step = 0; step < 20; ++step) {
    const double g = std::sin(step + 1.0);
    *tensor.grad.data<float>() = static_cast<float>(g);
    optimizer.Step(step, 0.02, GradNorm(optimizer));
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double mh = m / (1 - std::pow(0.9, step + 1));
    const double vh = v / (1 - std::pow(0.999, step + 1));
    w -= 0.02 * (mh / (std::sqrt(vh) + 1e-8) + 0.01 * w);
  }
  EXPECT_NEAR(*tensor.weight.data<float>(), w, 1e-5);
}

}  // namespace
}  // namespace rtpurbo::testing
