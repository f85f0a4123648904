// Decoding against attention over the sequence; slots nobody sees hold NaN.

#include "kernels/sparse_decode.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/cpu/range_attention.h"
#include "kernels/cpu/sparse_decode.h"
#include "tests/device_test.h"
#include "tests/kernels/attention_cases.h"

namespace rtpurbo::testing {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct DecodeCase {
  AttentionCase attention;
  std::vector<std::int64_t> ring_slots_G = {};  // 0 = whole
  std::int64_t ring_sinks = 0;

  bool ring(std::int64_t g) const { return ring_slots(g) > 0; }
  std::int64_t ring_slots(std::int64_t g) const {
    return ring_slots_G.empty() ? 0 : ring_slots_G[static_cast<std::size_t>(g)];
  }
};

std::ostream& operator<<(std::ostream& os, const DecodeCase& c) {
  return os << c.attention.name;
}

std::vector<DecodeCase> Cases() {
  const std::vector<std::int64_t> local = {9, 9, 9, 9, 9, 9};
  const std::vector<std::int32_t> map = {0, 1, 0, 1, 1, 1};
  return {
      {{.name = "Dense", .T = 1, .query_begin = 70}},
      {{.name = "FirstToken", .T = 1}},
      {{.name = "NoToken", .T = 0, .query_begin = 5}},
      {{.name = "EightRows",
        .T = 8,
        .C = 64,
        .query_begin = 2500,
        .scale = 0.05F}},
      {{.name = "MoreRowsThanWindow",
        .T = 30,
        .query_begin = 10,
        .sinks = 2,
        .window_H = {3, 3, kDense}}},
      {{.name = "OddRatio",
        .T = 3,
        .H = 5,
        .G = 3,
        .C = 16,
        .query_begin = 130,
        .window_H = {kDense, kDense, 7, 5, 60},
        .kv_head_H = {0, 0, 2, 1, 2}}},
      {{.name = "UnusedHead",
        .T = 2,
        .G = 2,
        .query_begin = 20,
        .kv_head_H = {1, 1, 1}}},
      {{.name = "TightRings",
        .T = 1,
        .H = 6,
        .G = 2,
        .query_begin = 100,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map},
       {14, 14},
       4},
      {{.name = "TightRingsOfEightRows",
        .T = 8,
        .H = 6,
        .G = 2,
        .C = 40,
        .query_begin = 117,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map,
        .scale = 0.1F},
       {21, 22},
       4},
      {{.name = "RingNotYetFull",
        .T = 2,
        .H = 6,
        .G = 2,
        .query_begin = 17,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map},
       {19, 64},
       4},
      {{.name = "RingWithoutSinks",
        .T = 3,
        .query_begin = 333,
        .window_H = {20, 5, 0}},
       {24},
       0},
      {{.name = "RingOfMoreSinksThanAreSeen",
        .T = 2,
        .query_begin = 50,
        .sinks = 1,
        .window_H = {20, 5, 0}},
       {40},
       3},
      {{.name = "RingAndWhole",
        .T = 4,
        .H = 6,
        .G = 2,
        .C = 80,
        .query_begin = 1100,
        .sinks = 2,
        .window_H = {1090, 9, 1050, kDense, 9, kDense},
        .kv_head_H = map,
        .scale = 0.05F},
       {1096, 0},
       2},
      {{.name = "LongRing",
        .T = 2,
        .C = 8,
        .query_begin = 7000,
        .sinks = 4,
        .window_H = {2100, 2000, 1500}},
       {2106},
       4},
      {{.name = "Selected",
        .T = 8,
        .C = 32,
        .query_begin = 2992,
        .window_H = {kDense, 5, kDense},
        .selected_rows = 8,
        .slot_H = {1, -1, 0},
        .block = 64,
        .scale = 0.1F}},
      {{.name = "SelectedLastRows",
        .T = 7,
        .query_begin = 60,
        .selected_rows = 3,
        .slot_H = {0, 1, -1},
        .block = 5}},
      {{.name = "SelectedBesideARing",
        .T = 5,
        .H = 6,
        .G = 2,
        .query_begin = 200,
        .sinks = 4,
        .window_H = {9, kDense, 9, 30, 9, kDense},
        .kv_head_H = map,
        .selected_rows = 5,
        .slot_H = {-1, 0, -1, -1, -1, 1},
        .block = 16},
       {18, 0},
       4},
      {{.name = "SelectedTokens",
        .T = 2,
        .query_begin = 150,
        .selected_rows = 2,
        .slot_H = {0, 1, 2},
        .block = 1}},
  };
}

// Row (n, g) of [N, G, C].
template <typename T>
std::vector<T> Row(const AttentionCase& c, const std::vector<T>& x_NGC,
                   std::int64_t n, std::int64_t g) {
  const auto begin = x_NGC.begin() + (n * c.G + g) * c.C;
  return std::vector<T>(begin, begin + c.C);
}

// [N * G], the rows h T + t that see a key.
using Seeing = std::vector<std::vector<std::int64_t>>;

Seeing RowsThatSee(const AttentionCase& a) {
  Seeing rows;
  for (std::int64_t key = 0; key < a.N() * a.G; ++key) {
    rows.push_back(a.RowsThatSee(key % a.G, key / a.G));
  }
  return rows;
}

// The slots of head g after all N positions were written one after the other;
// NaN where nothing is, or nothing that a row sees.
std::vector<float> CacheOf(const DecodeCase& c, const Seeing& seeing,
                           const std::vector<float>& x_NGC, std::int64_t g) {
  const AttentionCase& a = c.attention;
  const std::int64_t slots = c.ring(g) ? c.ring_slots(g) : a.N() + 3;
  std::vector<float> cache(static_cast<std::size_t>(slots * a.C), kNaN);
  for (std::int64_t n = 0; n < a.N(); ++n) {
    const std::int64_t slot =
        c.ring(g) ? kernels::RingSlot(n, c.ring_sinks, slots) : n;
    std::vector<float> row = Row(a, x_NGC, n, g);
    if (seeing[static_cast<std::size_t>(n * a.G + g)].empty()) {
      std::fill(row.begin(), row.end(), kNaN);
    }
    std::copy(row.begin(), row.end(), cache.begin() + slot * a.C);
  }
  return cache;
}

struct Outputs {
  std::vector<float> o_THC;
  std::vector<float> lse_HT;
};

Outputs Decode(const DecodeCase& c, const Seeing& seeing,
               const FloatAttention& in, DType dtype = DType::kF32) {
  const AttentionCase& a = c.attention;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  kernels::CacheView cache;
  cache.length = a.N();
  cache.sinks = c.ring_sinks;
  for (std::int64_t g = 0; g < a.G; ++g) {
    const std::vector<float> keys = CacheOf(c, seeing, in.k_NGC, g);
    const Shape shape = {static_cast<std::int64_t>(keys.size()) / a.C, a.C};
    cache.heads_G.push_back(
        {FromFloats(ctx, dtype, keys, shape),
         FromFloats(ctx, dtype, CacheOf(c, seeing, in.v_NGC, g), shape),
         c.ring(g)});
  }
  Tensor o = FromFloats(ctx, dtype, in.o_THC, {a.T, a.H, a.C});
  Tensor lse = FromHost(ctx, in.lse_HT, {a.H, a.T});
  kernels::SparseDecode(ctx, a.Pattern(ctx),
                        FromFloats(ctx, dtype, in.q_THC, {a.T, a.H, a.C}),
                        cache, &o, &lse);
  return {ToFloats(ctx, o), ToHost<float>(ctx, lse)};
}

std::vector<double> Doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

// The definition over the cache and the definition over the sequence.
void RunDefinitions(const DecodeCase& c, const Seeing& seeing,
                    const FloatAttention& in, std::vector<double>* decoded,
                    std::vector<double>* whole) {
  const AttentionCase& a = c.attention;
  const auto device = *Device::Open(DeviceType::kCpu);
  const kernels::AttentionPattern pattern = a.Pattern(device->ctx());
  const kernels::AttentionView view = kernels::ViewOf(
      pattern, FromHost(device->ctx(), in.q_THC, {a.T, a.H, a.C}), a.N(), a.G,
      a.query_begin);
  std::vector<std::vector<double>> caches;
  std::vector<kernels::cpu::DecodeHead<double>> heads;
  for (std::int64_t g = 0; g < a.G; ++g) {
    caches.push_back(Doubles(CacheOf(c, seeing, in.k_NGC, g)));
    caches.push_back(Doubles(CacheOf(c, seeing, in.v_NGC, g)));
    heads.push_back({caches.end()[-2].data(), caches.end()[-1].data(),
                     static_cast<std::int64_t>(caches.back().size()) / a.C,
                     c.ring(g) ? c.ring_sinks : -1});
  }
  const std::vector<double> q = Doubles(in.q_THC);
  const std::vector<double> k = Doubles(in.k_NGC);
  const std::vector<double> v = Doubles(in.v_NGC);
  const std::size_t rows = in.lse_HT.size();
  decoded->assign(q.size() + rows, kNaN);  // o, then lse
  whole->assign(q.size() + rows, kNaN);
  kernels::cpu::SparseDecode<double>({view, q.data(), heads.data()},
                                     decoded->data(),
                                     decoded->data() + q.size());
  kernels::cpu::RangeAttentionForward<double>(
      {view, q.data(), k.data(), v.data()}, whole->data(),
      whole->data() + q.size());
}

// A row that sees nothing has the lse -infinity.
void ExpectNearOrInfinite(const std::vector<double>& actual,
                          const std::vector<double>& expected,
                          double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(actual[i], expected[i]);
    } else {
      ASSERT_NEAR(actual[i], expected[i],
                  tolerance * std::max(1.0, std::abs(expected[i])))
          << "at element " << i;
    }
  }
}

class SparseDecodeTest : public ::testing::TestWithParam<DecodeCase> {
 protected:
  const DecodeCase& c() const { return GetParam(); }

  const FloatAttention in_{GetParam().attention};
  const Seeing seeing_ = RowsThatSee(GetParam().attention);
};

INSTANTIATE_TEST_SUITE_P(Cases, SparseDecodeTest, ::testing::ValuesIn(Cases()),
                         [](const auto& p) { return p.param.attention.name; });

TEST_P(SparseDecodeTest, DefinitionOverTheCacheIsThatOverTheSequence) {
  std::vector<double> decoded;
  std::vector<double> whole;
  RunDefinitions(c(), seeing_, in_, &decoded, &whole);
  ExpectNearOrInfinite(decoded, whole, 1e-12);
}

TEST_P(SparseDecodeTest, OperatorIsTheDefinition) {
  std::vector<double> decoded;
  std::vector<double> whole;
  RunDefinitions(c(), seeing_, in_, &decoded, &whole);
  const Outputs actual = Decode(c(), seeing_, in_);
  std::vector<double> values = Doubles(actual.o_THC);
  values.insert(values.end(), actual.lse_HT.begin(), actual.lse_HT.end());
  ExpectNearOrInfinite(values, whole, 2e-6);
}

// Inputs and output are rounded to 8 bits, sums are not.
TEST_P(SparseDecodeTest, OfRoundedInputsIsTheRoundedResult) {
  FloatAttention in = in_;
  for (std::vector<float>* x : {&in.q_THC, &in.k_NGC, &in.v_NGC}) {
    for (float& value : *x) {
      value = static_cast<float>(BFloat16(value));
    }
  }
  const Outputs exact = Decode(c(), seeing_, in);
  const Outputs rounded = Decode(c(), seeing_, in, DType::kBF16);
  ExpectNear(rounded.o_THC, exact.o_THC, 0x1p-8F);
  ExpectNearOrInfinite(Doubles(rounded.lse_HT), Doubles(exact.lse_HT), 1e-6);
}

TEST_P(SparseDecodeTest, AKeyChangesExactlyTheRowsThatSeeIt) {
  const AttentionCase& a = c().attention;
  const Outputs before = Decode(c(), seeing_, in_);
  const std::int64_t step = std::max<std::int64_t>(1, a.N() / 24);
  for (std::int64_t n = a.N() - 1; n >= 0; n -= step) {
    const std::int64_t g = n % a.G;
    FloatAttention changed = in_;
    changed.v_NGC[static_cast<std::size_t>((n * a.G + g) * a.C)] += 1e4F;
    const Outputs after = Decode(c(), seeing_, changed);
    const std::vector<std::int64_t>& seeing =
        seeing_[static_cast<std::size_t>(n * a.G + g)];
    for (std::int64_t row = 0; row < a.H * a.T; ++row) {
      const auto at =
          static_cast<std::size_t>((row % a.T * a.H + row / a.T) * a.C);
      EXPECT_EQ(after.o_THC[at] != before.o_THC[at],
                std::count(seeing.begin(), seeing.end(), row) == 1)
          << "key " << n << " of " << g << ", row " << row;
    }
  }
}

TEST_P(SparseDecodeTest, AnyNumberOfThreadsGivesTheSameBits) {
  const int threads = NumThreads();
  SetNumThreads(1);
  const Outputs one = Decode(c(), seeing_, in_);
  for (const int n : {1, 2, 3}) {
    SetNumThreads(n);
    const Outputs other = Decode(c(), seeing_, in_);
    EXPECT_EQ(other.o_THC, one.o_THC);
    EXPECT_EQ(other.lse_HT, one.lse_HT);
  }
  SetNumThreads(threads);
}

TEST(SparseDecodeScoresTest, HugeOnesOfEitherSignNeitherOverflowNorVanish) {
  for (const float q : {300.0F, -300.0F}) {
    DecodeCase c;
    c.attention.T = 1;
    c.attention.query_begin = 1500;
    FloatAttention in(c.attention);
    std::fill(in.q_THC.begin(), in.q_THC.end(), q);
    std::fill(in.k_NGC.begin(), in.k_NGC.end(), 1.0F);
    std::fill(in.v_NGC.begin(), in.v_NGC.end(), 2.0F);
    const Outputs out = Decode(c, RowsThatSee(c.attention), in);
    for (const float o : out.o_THC) {
      EXPECT_NEAR(o, 2, 1e-5);
    }
    EXPECT_NEAR(out.lse_HT[0], 0.5 * 5 * q + std::log(1501.0), 1e-3);
  }
}

TEST(SparseDecodeDeathTest, ADroppedPositionIsNotSeenInSilence) {
  DecodeCase c;
  c.attention.T = 2;
  c.attention.query_begin = 100;
  c.attention.sinks = 4;
  c.attention.window_H = {10, 10, 10};
  c.ring_sinks = 4;
  c.ring_slots_G = {16};  // sinks + window + rows
  const Seeing seeing = RowsThatSee(c.attention);
  const FloatAttention in(c.attention);
  Decode(c, seeing, in);
  c.attention.window_H = {10, 11, 10};
  EXPECT_DEATH(Decode(c, seeing, in),
               "a row sees position 89, but of 102 positions");
  c.attention.window_H = {10, 10, 10};
  c.attention.sinks = 5;
  EXPECT_DEATH(Decode(c, seeing, in), "a row sees position 4,");
}

}  // namespace
}  // namespace rtpurbo::testing
