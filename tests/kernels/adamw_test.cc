#include "kernels/adamw.h"

#include <cmath>

#include "tests/kernels/op_test.h"

namespace rtpurbo::testing {
namespace {

constexpr kernels::AdamWStep kStep = {.learning_rate = 0.1F,
                                      .beta1 = 0.9F,
                                      .beta2 = 0.95F,
                                      .epsilon = 1e-3F,
                                      .weight_decay = 0.1F,
                                      .correction1 = 0.2F,
                                      .correction2 = 0.1F,
                                      .grad_scale = 0.5F};

struct State {
  Tensor w;
  Tensor m;
  Tensor v;
};

State MakeState(const ExecContext& ctx, std::int64_t n) {
  std::vector<float> squares = Normal(n, 2);
  for (float& square : squares) {
    square *= square;
  }
  return {Random(ctx, DType::kF32, {n}, 1), Random(ctx, DType::kF32, {n}, 3),
          FromHost(ctx, squares, {n})};
}

// One element in f64, by the formula of the header.
void Update(const kernels::AdamWStep& s, double grad, double* w, double* m,
            double* v) {
  const double g = s.grad_scale * grad;
  *m = s.beta1 * *m + (1.0 - s.beta1) * g;
  *v = s.beta2 * *v + (1.0 - s.beta2) * g * g;
  const double step =
      (*m / s.correction1) / (std::sqrt(*v / s.correction2) + s.epsilon);
  *w -= s.learning_rate * (step + s.weight_decay * *w);
}

TEST(AdamWTest, EachElementFollowsTheFormula) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  for (const std::int64_t n : {0, 1, 37, 20000}) {
    SCOPED_TRACE(n);
    State state = MakeState(ctx, n);
    const State before = {state.w.Clone(ctx), state.m.Clone(ctx),
                          state.v.Clone(ctx)};
    const Tensor grad = Random(ctx, DType::kF32, {n}, 4);
    kernels::AdamW(ctx, kStep, grad, &state.w, &state.m, &state.v);
    for (std::int64_t i = 0; i < n; ++i) {
      double w = before.w.data<float>()[i];
      double m = before.m.data<float>()[i];
      double v = before.v.data<float>()[i];
      Update(kStep, grad.data<float>()[i], &w, &m, &v);
      ASSERT_NEAR(state.w.data<float>()[i], w, 1e-6 * (1 + std::abs(w))) << i;
      ASSERT_NEAR(state.m.data<float>()[i], m, 1e-6) << i;
      ASSERT_NEAR(state.v.data<float>()[i], v, 1e-6 * (1 + v)) << i;
    }
  }
}

TEST(AdamWTest, RateZeroMovesNoWeight) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  State state = MakeState(ctx, 50);
  const std::vector<float> before = ToFloats(ctx, state.w);
  kernels::AdamWStep step = kStep;
  step.learning_rate = 0;
  kernels::AdamW(ctx, step, Random(ctx, DType::kF32, {50}, 4), &state.w,
                 &state.m, &state.v);
  EXPECT_EQ(ToFloats(ctx, state.w), before);
}

TEST(AdamWDeathTest, SizesMustBeEqual) {
  DieInAProcessOfItsOwn();
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  State state = MakeState(ctx, 5);
  Tensor less = Random(ctx, DType::kF32, {4}, 1);
  const Tensor grad = Random(ctx, DType::kF32, {5}, 4);
  EXPECT_DEATH(kernels::AdamW(ctx, kStep, less, &state.w, &state.m, &state.v),
               "weight->size");
  EXPECT_DEATH(kernels::AdamW(ctx, kStep, grad, &state.w, &less, &state.v),
               "m->size");
  EXPECT_DEATH(kernels::AdamW(ctx, kStep, grad, &state.w, &state.m, &less),
               "v->size");
}

class AdamWDeviceTest : public OpTest {};

INSTANTIATE_TEST_SUITE_P(All, AdamWDeviceTest, AllDevicesAndTypes(),
                         OpTest::Name);

TEST_P(AdamWDeviceTest, Update) {
  const auto run = [](const ExecContext& ctx) {
    State state = MakeState(ctx, 30000);
    kernels::AdamW(ctx, kStep, Random(ctx, DType::kF32, {30000}, 4), &state.w,
                   &state.m, &state.v);
    return Tensors{state.w, state.m, state.v};
  };
  ExpectTheCpu(run, {.atol = 1e-6, .rtol = 1e-6});
}

}  // namespace
}  // namespace rtpurbo::testing
