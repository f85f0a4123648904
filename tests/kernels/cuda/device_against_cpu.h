// The CUDA device against the CPU on the same rounded inputs, by the norm of
// the difference; and twice, for the same bytes.

#ifndef RTPURBO_TESTS_KERNELS_CUDA_DEVICE_AGAINST_CPU_H_
#define RTPURBO_TESTS_KERNELS_CUDA_DEVICE_AGAINST_CPU_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "tests/device_test.h"

namespace rtpurbo::testing {

using DeviceResults = std::vector<Tensor>;
using DeviceRun = std::function<DeviceResults(const ExecContext& ctx)>;

// An output that nothing has been written to: NaN everywhere.
inline Tensor Unwritten(const ExecContext& ctx, DType dtype,
                        const Shape& shape) {
  Tensor tensor = Tensor::Empty(ctx, dtype, shape);
  kernels::Fill(ctx, std::numeric_limits<float>::quiet_NaN(), &tensor);
  return tensor;
}

inline std::vector<float> Values(const ExecContext& ctx, const Tensor& tensor) {
  if (tensor.dtype() != DType::kI32) {
    return ToFloats(ctx, tensor);
  }
  const auto integers = ToHost<std::int32_t>(ctx, tensor);
  return {integers.begin(), integers.end()};
}

// |a - b| / |b|, where a difference of 1e-6 an element counts for nothing:
// inputs are of order one, and where everything cancels, rounding is left.
// Infinities must agree and count for nothing more. NaN in either fails.
inline double RelativeError(const std::vector<float>& a,
                            const std::vector<float>& b) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isinf(a[i]) || std::isinf(b[i])) {
      if (a[i] != b[i]) {
        return std::numeric_limits<double>::infinity();
      }
      continue;
    }
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  constexpr double kNoise = 1e-6;
  const double noise = kNoise * std::sqrt(static_cast<double>(a.size()));
  const double beyond = std::sqrt(difference) - noise;
  return beyond <= 0 ? 0 : beyond / std::sqrt(norm);
}

// One run for each float type.
class CudaTest : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if constexpr (kHasCuda) {
      if (auto device = Device::Open(DeviceType::kCuda); device.ok()) {
        cuda_ = *std::move(device);
        return;
      }
    }
    GTEST_SKIP() << "skipped: no CUDA device";
  }
  DType dtype() const { return GetParam(); }
  double Tolerance() const { return dtype() == DType::kF32 ? 1e-5 : 1e-2; }

  ExecContext cuda() const { return cuda_->ctx(); }

  void ExpectTheCpu(const DeviceRun& run) const {
    const auto cpu = *Device::Open(DeviceType::kCpu);
    const ExecContext ctx = cuda_->ctx();
    const DeviceResults expected = run(cpu->ctx());
    const DeviceResults actual = run(ctx);
    const DeviceResults again = run(ctx);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::vector<float> values = Values(ctx, actual[i]);
      const double error =
          RelativeError(values, Values(cpu->ctx(), expected[i]));
      EXPECT_LE(error, Tolerance()) << "result " << i;
      EXPECT_EQ(values, Values(ctx, again[i])) << "result " << i;
    }
  }

 private:
  std::unique_ptr<Device> cuda_;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_CUDA_DEVICE_AGAINST_CPU_H_
