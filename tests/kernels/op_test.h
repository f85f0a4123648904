// What the tests of operators share: poisoned outputs, the same bytes for any
// number of threads, and every device against the CPU on the same inputs.

#ifndef RTPURBO_TESTS_KERNELS_OP_TEST_H_
#define RTPURBO_TESTS_KERNELS_OP_TEST_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/core/parallel.h"
#include "tests/compare.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {

using Tensors = std::vector<Tensor>;
// Makes its inputs on ctx, runs the operator, returns what it wrote.
using Compute = std::function<Tensors(const ExecContext& ctx)>;

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// An output to be: NaN everywhere, or for i32 a number that is no index. What
// an operator fails to overwrite shows.
inline Tensor Poisoned(const ExecContext& ctx, DType dtype,
                       const Shape& shape) {
  const auto n = static_cast<std::size_t>(NumElements(shape));
  if (dtype == DType::kI32) {
    const std::int32_t nowhere = std::numeric_limits<std::int32_t>::min();
    return FromHost(ctx, std::vector<std::int32_t>(n, nowhere), shape);
  }
  return FromFloats(ctx, dtype, std::vector<float>(n, kNaN), shape);
}

// First in a death test: a fork would leave the threads of the pool behind.
inline void DieInAProcessOfItsOwn() {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
}

inline std::vector<std::byte> ToBytes(const ExecContext& ctx,
                                      const Tensor& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.num_bytes()));
  if (!bytes.empty()) {
    CopyBytes(ctx, tensor.bytes(), bytes.data(), tensor.num_bytes());
  }
  Synchronize(ctx);
  return bytes;
}

inline void ExpectSameBytes(const ExecContext& ctx, const Tensors& actual,
                            const Tensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].shape(), expected[i].shape());
    EXPECT_TRUE(ToBytes(ctx, actual[i]) == ToBytes(ctx, expected[i]))
        << "result " << i << " has other bytes";
  }
}

// On the CPU: run twice and with 1, 2 and 5 threads.
inline void ExpectSameBytesForAnyThreads(const Compute& run) {
  const auto cpu = *Device::Open(DeviceType::kCpu);
  const int before = NumThreads();
  SetNumThreads(1);
  const Tensors expected = run(cpu->ctx());
  for (const int threads : {1, 2, 5}) {
    SCOPED_TRACE(threads);
    SetNumThreads(threads);
    ExpectSameBytes(cpu->ctx(), run(cpu->ctx()), expected);
  }
  SetNumThreads(before);
}

// Once for each device of the build and float type. Instantiate with
// AllDevicesAndTypes() and OpTest::Name.
class OpTest : public ::testing::TestWithParam<std::tuple<DeviceType, DType>> {
 public:
  static std::string Name(const ::testing::TestParamInfo<ParamType>& info) {
    return DeviceName(std::get<0>(info.param)) + "_" +
           rtpurbo::Name(std::get<1>(info.param));
  }

 protected:
  DType dtype() const { return std::get<DType>(GetParam()); }

  // The device against the CPU; twice, for the same bytes. On the CPU itself:
  // the same bytes for any number of threads.
  void ExpectTheCpu(const Compute& run, const Tolerance& tolerance) const {
    if (std::get<DeviceType>(GetParam()) == DeviceType::kCpu) {
      return ExpectSameBytesForAnyThreads(run);
    }
    const auto cpu = *Device::Open(DeviceType::kCpu);
    const auto device = Device::Open(std::get<DeviceType>(GetParam()));
    if (!device.ok()) {
      GTEST_SKIP() << device.status().message();
    }
    const ExecContext ctx = (*device)->ctx();
    const Tensors expected = run(cpu->ctx());
    const Tensors actual = run(ctx);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE(i);
      if (expected[i].dtype() == DType::kI32) {
        EXPECT_EQ(ToHost<std::int32_t>(ctx, actual[i]),
                  ToHost<std::int32_t>(cpu->ctx(), expected[i]));
      } else {
        EXPECT_TRUE(Close(ToFloats(ctx, actual[i]),
                          ToFloats(cpu->ctx(), expected[i]), tolerance));
      }
    }
    ExpectSameBytes(ctx, run(ctx), actual);
  }
  // One rounding of an output to the type under test, either way.
  Tolerance Rounding() const {
    return dtype() == DType::kF32
               ? Tolerance{.atol = kRoundF32, .rtol = kRoundF32}
               : Tolerance{.atol = kRoundBF16, .rtol = kRoundBF16};
  }
};

inline auto AllDevicesAndTypes() {
  return ::testing::Combine(::testing::ValuesIn(Devices()),
                            ::testing::Values(DType::kF32, DType::kBF16));
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_OP_TEST_H_
