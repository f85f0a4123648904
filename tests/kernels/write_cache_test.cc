// What WriteCache leaves in the slots, against writing one position at a time.

#include "kernels/write_cache.h"

#include <cmath>
#include <limits>

#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

using kernels::CacheView;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

CacheView::Head Head(const ExecContext& ctx, DType dtype, std::int64_t slots,
                     std::int64_t width, bool ring) {
  const std::vector<float> nan(static_cast<std::size_t>(slots * width), kNaN);
  return {FromFloats(ctx, dtype, nan, {slots, width}),
          FromFloats(ctx, dtype, nan, {slots, width}), ring};
}

// Element c of key row n of head g, and minus that of the value; exact in bf16.
float Element(std::int64_t n, std::int64_t g, std::int64_t c) {
  return static_cast<float>((n * 2 + g) % 128 + 1) +
         static_cast<float>(c) / 128;
}

// Rows [begin, end) of keys, or with -1 of values, of two heads.
Tensor Rows(const ExecContext& ctx, DType dtype, std::int64_t begin,
            std::int64_t end, std::int64_t width, float sign) {
  std::vector<float> x;
  for (std::int64_t n = begin; n < end; ++n) {
    for (std::int64_t i = 0; i < 2 * width; ++i) {
      x.push_back(sign * static_cast<float>(
                             BFloat16(Element(n, i / width, i % width))));
    }
  }
  return FromFloats(ctx, dtype, x, {end - begin, 2, width});
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
    const auto width = static_cast<std::size_t>(head.key_NC.dim(1));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::int64_t n = positions[i / width];
      if (n < 0) {
        EXPECT_TRUE(std::isnan(keys[i]) && std::isnan(values[i])) << i / width;
      } else {
        const float element = static_cast<float>(
            BFloat16(Element(n, g, static_cast<std::int64_t>(i % width))));
        EXPECT_EQ(keys[i], element) << "slot " << i / width << " of head " << g;
        EXPECT_EQ(values[i], -element) << "slot " << i / width;
      }
    }
  }
}

// Writes 60 positions, `step` at a time, to a ring and to a whole head.
void ExpectContentsOfEachStep(const ExecContext& ctx, DType dtype,
                              std::int64_t width, std::int64_t sinks,
                              std::int64_t step) {
  SCOPED_TRACE(::testing::Message()
               << sinks << " sinks, by " << step << ", width " << width);
  CacheView cache;
  cache.sinks = sinks;
  cache.heads_G = {Head(ctx, dtype, 10, width, true),
                   Head(ctx, dtype, 64, width, false)};
  while (cache.length < 60) {
    const std::int64_t begin = cache.length;
    cache.length = std::min<std::int64_t>(60, begin + step);
    kernels::WriteCache(ctx, Rows(ctx, dtype, begin, cache.length, width, 1),
                        Rows(ctx, dtype, begin, cache.length, width, -1),
                        cache);
    ExpectContents(ctx, cache);
  }
}

class WriteCacheTest : public DeviceTest {};

INSTANTIATE_TEST_SUITE_P(Devices, WriteCacheTest,
                         ::testing::ValuesIn(Devices()),
                         [](const auto& p) { return DeviceName(p.param); });

// A width of 32 is copied in larger pieces on a device than 3 is.
TEST_P(WriteCacheTest, SlotsHoldWhatWritingOneByOneLeaves) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t step : {1, 2, 7, 20, 60}) {
      for (const std::int64_t width : {3, 32}) {
        ExpectContentsOfEachStep(ctx(), dtype, width, 0, step);
        ExpectContentsOfEachStep(ctx(), dtype, width, 3, step);
      }
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
