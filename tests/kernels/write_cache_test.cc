// What WriteCache leaves in the slots, against writing one position at a time.

#include "kernels/write_cache.h"

#include <cmath>
#include <limits>

#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using kernels::CacheView;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kC = 3;

CacheView::Head Head(const ExecContext& ctx, DType dtype, std::int64_t slots,
                     bool ring) {
  const std::vector<float> nan(static_cast<std::size_t>(slots * kC), kNaN);
  return {FromFloats(ctx, dtype, nan, {slots, kC}),
          FromFloats(ctx, dtype, nan, {slots, kC}), ring};
}

// Element c of key row n of head g, and minus that of the value; exact in bf16.
float Element(std::int64_t n, std::int64_t g, std::int64_t c) {
  return static_cast<float>((n * 2 + g) % 128 + 1) +
         static_cast<float>(c) / 128;
}

// Rows [begin, end) of keys, or with -1 of values, of two heads.
Tensor Rows(const ExecContext& ctx, DType dtype, std::int64_t begin,
            std::int64_t end, float sign) {
  std::vector<float> x;
  for (std::int64_t n = begin; n < end; ++n) {
    for (std::int64_t i = 0; i < 2 * kC; ++i) {
      x.push_back(sign *
                  static_cast<float>(BFloat16(Element(n, i / kC, i % kC))));
    }
  }
  return FromFloats(ctx, dtype, x, {end - begin, 2, kC});
}

// The position that each slot holds; -1: none.
std::vector<std::int64_t> Positions(const CacheView& cache,
                                    const CacheView::Head& head) {
  const std::int64_t slots = head.key_NC.dim(0);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(slots), -1);
  for (std::int64_t n = 0; n < cache.length; ++n) {
    const std::int64_t slot =
        head.ring ? kernels::RingSlot(n, cache.sinks, slots) : n;
    positions[static_cast<std::size_t>(slot)] = n;
  }
  return positions;
}

void ExpectContents(const ExecContext& ctx, const CacheView& cache) {
  for (std::int64_t g = 0; g < 2; ++g) {
    const CacheView::Head& head = cache.heads_G[static_cast<std::size_t>(g)];
    const std::vector<std::int64_t> positions = Positions(cache, head);
    const std::vector<float> keys = ToFloats(ctx, head.key_NC);
    const std::vector<float> values = ToFloats(ctx, head.value_NC);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::int64_t n = positions[i / kC];
      if (n < 0) {
        EXPECT_TRUE(std::isnan(keys[i]) && std::isnan(values[i])) << i / kC;
      } else {
        const float element = static_cast<float>(
            BFloat16(Element(n, g, static_cast<std::int64_t>(i % kC))));
        EXPECT_EQ(keys[i], element) << "slot " << i / kC << " of head " << g;
        EXPECT_EQ(values[i], -element) << "slot " << i / kC;
      }
    }
  }
}

// Writes 60 positions, `step` at a time, to a ring and to a whole head.
void ExpectContentsOfEachStep(DType dtype, std::int64_t sinks,
                              std::int64_t step) {
  SCOPED_TRACE(::testing::Message() << sinks << " sinks, by " << step);
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  CacheView cache;
  cache.sinks = sinks;
  cache.heads_G = {Head(ctx, dtype, 10, true), Head(ctx, dtype, 64, false)};
  while (cache.length < 60) {
    const std::int64_t begin = cache.length;
    cache.length = std::min<std::int64_t>(60, begin + step);
    kernels::WriteCache(ctx, Rows(ctx, dtype, begin, cache.length, 1),
                        Rows(ctx, dtype, begin, cache.length, -1), cache);
    ExpectContents(ctx, cache);
  }
}

TEST(WriteCacheTest, SlotsHoldWhatWritingOneByOneLeaves) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t step : {1, 2, 7, 20, 60}) {
      ExpectContentsOfEachStep(dtype, 0, step);
      ExpectContentsOfEachStep(dtype, 3, step);
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
