// Decoding against attention over the sequence; slots nobody sees hold NaN.

#include "kernels/sparse_decode.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/cpu/range_attention.h"
#include "kernels/cpu/sparse_decode.h"
#include "tests/kernels/sparse_decode_cases.h"

namespace rtpurbo::testing {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Outputs {
  std::vector<float> o_THC;
  std::vector<float> lse_HT;
};

Outputs Decode(const DecodeCase& c, const Seeing& seeing,
               const FloatAttention& in, DType dtype = DType::kF32) {
  const AttentionCase& a = c.attention;
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const kernels::CacheView cache = CacheViewOf(ctx, c, seeing, in, dtype);
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

INSTANTIATE_TEST_SUITE_P(Cases, SparseDecodeTest,
                         ::testing::ValuesIn(DecodeCases()),
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
