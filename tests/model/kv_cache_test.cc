// The cache of one sequence: decoding over it equals attention over the whole
// sequence, and its bytes are those of the formula in the header.

#include "model/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/range_attention.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {
namespace {

ModelConfig Config(std::int64_t layers, std::int64_t heads,
                   std::int64_t kv_heads, std::int64_t width) {
  ModelConfig config;
  config.num_layers = layers;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.head_width = width;
  return config;
}

// Two layers of 4 query heads over 2 key/value heads of width 8. Head 3 of
// layer 1 retrieves; the others see 4 sinks and a window of 20.
struct Small {
  ModelConfig config = Config(2, 4, 2, 8);
  SparseMode mode;

  explicit Small(const ExecContext& ctx, std::int64_t dense_below = 0) {
    mode.map = LocalMap(config);
    mode.map.layers[1].retrieval_H[3] = true;
    mode.map.window = 20;
    mode.map.sinks = 4;
    mode.dense_below = dense_below;
    mode.projections = std::make_shared<IndexProjections>(
        ZeroProjections(ctx, config, mode.map, 5));
  }
};

// Rows [begin, end) of a sequence of keys, values or projected keys.
struct Sequence {
  Tensor k_NGC;
  Tensor v_NGC;
  Tensor y_NSR;

  explicit Sequence(const ExecContext& ctx, std::int64_t N, unsigned seed = 1,
                    DType dtype = DType::kF32)
      : k_NGC(Random(ctx, dtype, {N, 2, 8}, seed)),
        v_NGC(Random(ctx, dtype, {N, 2, 8}, seed + 1)),
        y_NSR(Random(ctx, DType::kF32, {N, 1, 5}, seed + 2)) {}

  void AppendTo(KvCache* cache, std::int64_t begin, std::int64_t end) const {
    for (const std::int64_t layer : {0, 1}) {
      cache->Append(layer, k_NGC.Slice(begin, end), v_NGC.Slice(begin, end),
                    layer == 1 ? y_NSR.Slice(begin, end) : Tensor());
    }
  }
};

class KvCacheTest : public ::testing::Test {
 protected:
  // o of rows [begin, end) by decoding over the cache, which ends at `end`,
  // and by attention over the sequence.
  void ExpectTheSameAttention(const Small& small, const Sequence& sequence,
                              const KvCache& cache, std::int64_t begin,
                              std::int64_t end) {
    const auto patterns = MakePatterns(small.config, small.mode.map);
    const Tensor q_THC = Random(ctx_, DType::kF32, {end - begin, 4, 8},
                                static_cast<unsigned>(end));
    for (const std::size_t layer : {0U, 1U}) {
      Tensor decoded = Tensor::Empty(ctx_, DType::kF32, q_THC.shape());
      Tensor whole = Tensor::Empty(ctx_, DType::kF32, q_THC.shape());
      Tensor lse = Tensor::Empty(ctx_, DType::kF32, {4, end - begin});
      kernels::SparseDecode(ctx_, *patterns[layer], q_THC,
                            cache.View(static_cast<std::int64_t>(layer)),
                            &decoded, &lse);
      kernels::RangeAttentionForward(ctx_, *patterns[layer],
                                     {q_THC, sequence.k_NGC.Slice(0, end),
                                      sequence.v_NGC.Slice(0, end), begin},
                                     &whole, &lse);
      ExpectNear(ToFloats(ctx_, decoded), ToFloats(ctx_, whole), 1e-5F);
    }
  }
  std::int64_t InUse() const { return ctx_.allocator.usage("kv_cache").in_use; }

  const std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx_ = device_->ctx();
};

TEST_F(KvCacheTest, HeadsWithoutARetrievalHeadAreRings) {
  const Small small(ctx_);
  const CacheLayout layout =
      LayoutOf(small.config, small.mode, DType::kBF16, 3);
  EXPECT_EQ(layout.layers[0].ring_G, (std::vector<bool>{true, true}));
  EXPECT_EQ(layout.layers[1].ring_G, (std::vector<bool>{true, false}));
  EXPECT_EQ(layout.layers[0].num_projected, 0);
  EXPECT_EQ(layout.layers[1].num_projected, 1);
  EXPECT_EQ(layout.projection_width, 5);
  EXPECT_EQ(layout.ring_slots, 4 + 20 + 3);
  EXPECT_EQ(
      LayoutOf(small.config, Small(ctx_, 100).mode, DType::kBF16, 3).ring_slots,
      100);
}

TEST_F(KvCacheTest, ADenseModeHasNoRings) {
  const ModelConfig config = Config(3, 4, 2, 8);
  const CacheLayout layout =
      LayoutOf(config, DenseMode(config), DType::kF32, 8);
  for (const CacheLayout::Layer& layer : layout.layers) {
    EXPECT_EQ(layer.ring_G, (std::vector<bool>{false, false}));
    EXPECT_EQ(layer.num_projected, 0);
  }
  EXPECT_EQ(NeedOf(layout, 1000).saved(), 0);
}

TEST_F(KvCacheTest, BytesAreThoseOfTheFormula) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Small small(ctx_);
    const CacheLayout layout = LayoutOf(small.config, small.mode, dtype, 300);
    const Sequence sequence(ctx_, 2100, 1, dtype);
    KvCache cache(ctx_, layout);
    EXPECT_EQ(InUse(), 0);
    for (const std::int64_t end : {0, 1, 2, 256, 257, 324, 325, 1500, 2100}) {
      sequence.AppendTo(&cache, cache.length(0), end);
      EXPECT_EQ(cache.length(1), end);
      EXPECT_EQ(InUse(), CacheBytes(layout, end)) << "length " << end;
      EXPECT_EQ(cache.bytes(), CacheBytes(layout, end));
    }
    // Three rings of 324 slots, one head of 4096 rows, one projected key.
    EXPECT_EQ(InUse(), std::int64_t{2} * (3 * 324 + 4096) * 8 * SizeOf(dtype) +
                           std::int64_t{4096} * 5 * 4);
  }
  EXPECT_EQ(InUse(), 0);
}

TEST_F(KvCacheTest, DecodingEqualsAttentionOverTheSequence) {
  const Small small(ctx_);
  const Sequence sequence(ctx_, 700);
  for (const std::int64_t prefill : {1, 23, 24, 25, 40, 255, 600}) {
    SCOPED_TRACE(prefill);
    KvCache cache(ctx_, LayoutOf(small.config, small.mode, DType::kF32, 3));
    sequence.AppendTo(&cache, 0, prefill);
    for (std::int64_t step = 1; cache.length(0) < prefill + 60; ++step) {
      const std::int64_t begin = cache.length(0);
      const std::int64_t end = begin + step % 3 + 1;
      sequence.AppendTo(&cache, begin, end);
      ExpectTheSameAttention(small, sequence, cache, begin, end);
    }
  }
}

TEST_F(KvCacheTest, UpToDenseBelowNothingIsDropped) {
  const Small small(ctx_, 400);
  const Sequence sequence(ctx_, 400);
  KvCache cache(ctx_, LayoutOf(small.config, small.mode, DType::kF32, 1));
  sequence.AppendTo(&cache, 0, 399);
  sequence.AppendTo(&cache, 399, 400);
  Small dense(ctx_);
  dense.mode.map = DenseMap(dense.config);
  ExpectTheSameAttention(dense, sequence, cache, 399, 400);
}

TEST_F(KvCacheTest, ProjectedKeysStayThroughGrowth) {
  const Small small(ctx_);
  const Sequence sequence(ctx_, 1000);
  KvCache cache(ctx_, LayoutOf(small.config, small.mode, DType::kF32, 1));
  EXPECT_FALSE(cache.Projected(0).defined());
  for (const std::int64_t end : {1, 200, 256, 257, 600, 1000}) {
    sequence.AppendTo(&cache, cache.length(0), end);
    EXPECT_EQ(ToHost<float>(ctx_, cache.Projected(1)),
              ToHost<float>(ctx_, sequence.y_NSR.Slice(0, end)));
  }
}

TEST_F(KvCacheTest, AClonesContinuationIsItsOwn) {
  const Small small(ctx_);
  const Sequence sequence(ctx_, 300);
  KvCache cache(ctx_, LayoutOf(small.config, small.mode, DType::kF32, 1));
  sequence.AppendTo(&cache, 0, 250);
  const std::int64_t alone = InUse();
  KvCache clone = cache.Clone();
  EXPECT_EQ(InUse(), 2 * alone);
  const Sequence other(ctx_, 300, 77);
  for (std::int64_t n = 250; n < 290; ++n) {  // the rings turn over
    other.AppendTo(&clone, n, n + 1);
  }
  EXPECT_EQ(cache.length(1), 250);
  ExpectTheSameAttention(small, sequence, cache, 249, 250);
  sequence.AppendTo(&cache, 250, 251);
  ExpectTheSameAttention(small, sequence, cache, 250, 251);
  EXPECT_EQ(ToHost<float>(ctx_, cache.Projected(1)),
            ToHost<float>(ctx_, sequence.y_NSR.Slice(0, 251)));
}

// 13.7 % of query heads, drawn at random, keep seven key/value heads of ten
// whole: sparsity of heads is not sparsity of memory.
TEST_F(KvCacheTest, WhatIsSavedFollowsFromTheMapNotFromTheShareOfHeads) {
  const ModelConfig config = Config(48, 32, 4, 128);
  SparseMode mode;
  mode.map = MapFromScores(config, 210.0 / 1536, Normal(1536, 1));
  mode.map.window = 8192;
  mode.map.sinks = 4;
  mode.dense_below = 16384;
  const CacheLayout layout = LayoutOf(config, mode, DType::kBF16, 1);
  std::int64_t rings = 0;
  for (const CacheLayout::Layer& layer : layout.layers) {
    rings += std::count(layer.ring_G.begin(), layer.ring_G.end(), true);
  }
  EXPECT_NEAR(static_cast<double>(rings) / 192, 0.31, 0.06);
  const CacheNeed need = NeedOf(layout, 131072);
  EXPECT_EQ(need.dense, std::int64_t{192} * 2 * 131072 * 128 * 2);
  EXPECT_EQ(need.keys_and_values, std::int64_t{2} * 128 * 2 *
                                      (rings * 16384 + (192 - rings) * 131072));
  EXPECT_EQ(need.projected, 0);
  EXPECT_DOUBLE_EQ(need.saved(), static_cast<double>(rings) / 192 * 7 / 8);
}

using KvCacheDeathTest = KvCacheTest;

TEST_F(KvCacheDeathTest, RowsOfAnotherTypeOrWidthAreFatal) {
  const Small small(ctx_);
  KvCache cache(ctx_, LayoutOf(small.config, small.mode, DType::kF32, 1));
  const Sequence half(ctx_, 3, 1, DType::kBF16);
  EXPECT_DEATH(half.AppendTo(&cache, 0, 3), "bf16");
  const Sequence full(ctx_, 3);
  EXPECT_DEATH(cache.Append(1, full.k_NGC, full.v_NGC, Tensor()),
               "projected keys");
}

}  // namespace
}  // namespace rtpurbo::testing
