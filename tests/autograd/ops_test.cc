// What every differentiable op must do, whatever it computes.

#include "autograd/ops/ops.h"

#include <cmath>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "autograd/recompute.h"
#include "tests/autograd/op_cases.h"
#include "tests/compare.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using Vars = std::vector<Var>;
using Tensors = std::vector<Tensor>;
using Param = std::tuple<DeviceType, DType, OpCase>;

class OpsTest : public ::testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    auto device = Device::Open(std::get<DeviceType>(GetParam()));
    if (!device.ok()) {
      GTEST_SKIP() << device.status().message();
    }
    device_ = *std::move(device);
  }

  ExecContext ctx() const { return device_->ctx(); }
  const OpCase& op() const { return std::get<OpCase>(GetParam()); }
  DType dtype() const { return std::get<DType>(GetParam()); }
  std::size_t num_inputs() const { return op().inputs.size(); }

  Tensors Values() const {
    Tensors values;
    for (const OpInput& input : op().inputs) {
      values.push_back(Random(ctx(), input.always_f32 ? DType::kF32 : dtype(),
                              input.shape,
                              static_cast<unsigned>(values.size())));
    }
    return values;
  }
  // Leaves that want a gradient, but for `frozen`.
  Vars Leaves(std::size_t frozen) const {
    Vars leaves;
    for (const Tensor& value : Values()) {
      leaves.emplace_back(value, leaves.size() != frozen);
    }
    return leaves;
  }
  Vars Leaves() const { return Leaves(num_inputs()); }

  Tensor Seed(const Var& y) const {
    return Random(ctx(), y.value().dtype(), y.value().shape(), 99);
  }
  std::vector<float> GradOf(const Var& leaf) const {
    EXPECT_TRUE(leaf.grad().defined());
    return leaf.grad().defined() ? ToFloats(ctx(), leaf.grad())
                                 : std::vector<float>();
  }
  // Gradients of all inputs of one use.
  std::vector<std::vector<float>> Gradients() const {
    Tape tape(ctx());
    const Vars in = Leaves();
    const Var y = op().apply(tape, in);
    tape.Backward(y, Seed(y));
    std::vector<std::vector<float>> grads;
    for (const Var& leaf : in) {
      grads.push_back(GradOf(leaf));
    }
    return grads;
  }
  // <op(in), seed> in f64.
  double Loss(const Tensors& values) const {
    Tape tape(ctx(), Tape::Mode::kOff);
    Vars in;
    for (const Tensor& value : values) {
      in.emplace_back(value, false);
    }
    const Var y = op().apply(tape, in);
    const std::vector<float> outputs = ToFloats(ctx(), y.value());
    const std::vector<float> seeds = ToFloats(ctx(), Seed(y));
    double sum = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      sum += double{outputs[i]} * seeds[i];
    }
    return sum;
  }

 private:
  std::unique_ptr<Device> device_;
};

INSTANTIATE_TEST_SUITE_P(All, OpsTest,
                         ::testing::Combine(::testing::ValuesIn(Devices()),
                                            ::testing::Values(DType::kF32,
                                                              DType::kBF16),
                                            ::testing::ValuesIn(OpCases())),
                         [](const auto& p) {
                           return std::get<OpCase>(p.param).name + "_" +
                                  DeviceName(std::get<DeviceType>(p.param)) +
                                  "_" + Name(std::get<DType>(p.param));
                         });

// The kernels' derivatives are proven elsewhere, to 12 digits; this finds a
// gradient that goes to the wrong input, or was made from the wrong tensor.
TEST_P(OpsTest, GradientsAreTheSlopesOfTheValue) {
  if (dtype() != DType::kF32) {
    return;  // a difference of rounded values is no slope
  }
  constexpr float kStep = 4e-3F;
  const auto grads = Gradients();
  for (std::size_t i = 0; i < num_inputs(); ++i) {
    SCOPED_TRACE(i);
    const std::vector<float> at = ToFloats(ctx(), Values()[i]);
    std::vector<float> slopes;
    for (std::size_t j = 0; j < at.size(); ++j) {
      const auto moved = [&](float by) {
        Tensors values = Values();
        std::vector<float> changed = at;
        changed[j] += by;
        values[i] = FromHost(ctx(), changed, values[i].shape());
        return Loss(values);
      };
      slopes.push_back(
          static_cast<float>((moved(kStep) - moved(-kStep)) / (2 * kStep)));
    }
    // Second order in the step, and the rounding of f32 values over the step.
    EXPECT_TRUE(Close(slopes, grads[i], {.atol = 5e-3, .rtol = 5e-3}));
  }
}

TEST_P(OpsTest, AFrozenInputGetsNothingAndChangesNoOther) {
  const auto grads = Gradients();
  for (std::size_t frozen = 0; frozen < num_inputs(); ++frozen) {
    SCOPED_TRACE(frozen);
    Tape tape(ctx());
    const Vars in = Leaves(frozen);
    const Var y = op().apply(tape, in);
    if (num_inputs() == 1) {
      EXPECT_FALSE(y.requires_grad());
      EXPECT_EQ(tape.num_nodes(), 0U);
      continue;
    }
    tape.Backward(y, Seed(y));
    for (std::size_t i = 0; i < num_inputs(); ++i) {
      if (i == frozen) {
        EXPECT_FALSE(in[i].grad().defined());
      } else {
        EXPECT_EQ(GradOf(in[i]), grads[i]) << i;
      }
    }
  }
}

TEST_P(OpsTest, AnInputUsedTwiceGetsBothGradients) {
  const auto grads = Gradients();
  Tape tape(ctx());
  const Vars in = Leaves();
  const Var first = op().apply(tape, in);
  const Var sum = ops::Add(tape, first, op().apply(tape, in));
  tape.Backward(sum, Seed(first));
  for (std::size_t i = 0; i < num_inputs(); ++i) {
    std::vector<float> twice = grads[i];
    for (float& value : twice) {
      value *= 2;
    }
    EXPECT_TRUE(Close(GradOf(in[i]), twice, {.atol = 1e-6, .rtol = 1e-6})) << i;
  }
}

TEST_P(OpsTest, BuffersAddUpOverMicroBatches) {
  const auto grads = Gradients();
  Vars in = Leaves();
  for (Var& leaf : in) {
    leaf.set_grad_buffer(
        Tensor::Zeros(ctx(), DType::kF32, leaf.value().shape()));
  }
  for (int batch = 0; batch < 2; ++batch) {
    Tape tape(ctx());
    const Var y = op().apply(tape, in);
    tape.Backward(y, Seed(y));
  }
  for (std::size_t i = 0; i < num_inputs(); ++i) {
    EXPECT_EQ(in[i].grad().dtype(), DType::kF32);
    std::vector<float> twice = grads[i];
    for (float& value : twice) {
      value *= 2;
    }
    EXPECT_TRUE(Close(GradOf(in[i]), twice, {.atol = 1e-6, .rtol = 1e-6})) << i;
  }
}

TEST_P(OpsTest, RecomputedIsPlainBitForBit) {
  const auto grads = Gradients();
  Tape tape(ctx());
  const Vars in = Leaves();
  const Segment segment = [&](Tape& t, Stash& /*stash*/, const Var& x) {
    Vars inside = in;
    inside[0] = x;
    return op().apply(t, inside);
  };
  const Var y = Recompute(tape, segment, in[0]);
  {
    Tape plain(ctx(), Tape::Mode::kOff);
    EXPECT_EQ(ToFloats(ctx(), y.value()),
              ToFloats(ctx(), op().apply(plain, in).value()));
  }
  tape.Backward(y, Seed(y));
  for (std::size_t i = 0; i < num_inputs(); ++i) {
    EXPECT_EQ(GradOf(in[i]), grads[i]) << i;
  }
}

TEST_P(OpsTest, NothingIsRecordedWhenOff) {
  Tape tape(ctx(), Tape::Mode::kOff);
  EXPECT_FALSE(op().apply(tape, Leaves()).requires_grad());
  EXPECT_EQ(tape.num_nodes(), 0U);
}

class SingleOpTest : public DeviceTest {};

INSTANTIATE_TEST_SUITE_P(Devices, SingleOpTest, ::testing::ValuesIn(Devices()),
                         [](const auto& p) { return DeviceName(p.param); });

TEST_P(SingleOpTest, AllRowsAreTheInputItself) {
  Tape tape(ctx());
  const Var x(Random(ctx(), DType::kF32, {9, 4}, 1), true);
  const Var y = ops::Rows(tape, x, 0, 9);
  EXPECT_EQ(y.value().bytes(), x.value().bytes());
  EXPECT_EQ(tape.num_nodes(), 0U);
}

// The log-sums come out beside the value, and are those of the kernel.
TEST_P(SingleOpTest, AttentionGivesItsLogSums) {
  Tape tape(ctx());
  const auto pattern = std::make_shared<kernels::AttentionPattern>();
  pattern->window_H = {kernels::AttentionPattern::kDense};
  pattern->kv_head_H = {0};
  const Var q(Random(ctx(), DType::kF32, {3, 1, 4}, 1), true);
  const Var k(Random(ctx(), DType::kF32, {3, 1, 4}, 2), true);
  Tensor lse;
  const Var o = ops::RangeAttention(tape, pattern, q, k, k, 0, &lse);
  EXPECT_EQ(lse.shape(), (Shape{1, 3}));
  Tensor again_o = Tensor::Empty(ctx(), DType::kF32, {3, 1, 4});
  Tensor again = Tensor::Empty(ctx(), DType::kF32, {1, 3});
  kernels::RangeAttentionForward(
      ctx(), *pattern, {q.value(), k.value(), k.value(), 0}, &again_o, &again);
  EXPECT_EQ(ToFloats(ctx(), lse), ToFloats(ctx(), again));
  EXPECT_EQ(ToFloats(ctx(), o.value()), ToFloats(ctx(), again_o));
}

}  // namespace
}  // namespace rtpurbo::testing
