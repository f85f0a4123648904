// Decoding on a CUDA device: attention over a cache against the CPU, selection
// of its blocks against the definition.

#include <algorithm>

#include "tests/kernels/cuda/device_against_cpu.h"
#include "tests/kernels/select_top_p_cases.h"
#include "tests/kernels/sparse_decode_cases.h"

namespace rtpurbo::testing {
namespace {

class SparseDecodeCudaTest : public CudaTest {
 protected:
  DeviceResults Decode(const DecodeCase& c, const Seeing& seeing,
                       const FloatAttention& in, const ExecContext& ctx) const {
    const AttentionCase& a = c.attention;
    const kernels::CacheView cache = CacheViewOf(ctx, c, seeing, in, dtype());
    Tensor o = Unwritten(ctx, dtype(), {a.T, a.H, a.C});
    Tensor lse = Unwritten(ctx, DType::kF32, {a.H, a.T});
    kernels::SparseDecode(ctx, a.Pattern(ctx),
                          FromFloats(ctx, dtype(), in.q_THC, {a.T, a.H, a.C}),
                          cache, &o, &lse);
    return {o, lse};
  }
  void ExpectTheCpuOn(const DecodeCase& c) const {
    SCOPED_TRACE(c.attention.name);
    const FloatAttention in(c.attention);
    const Seeing seeing = RowsThatSee(c.attention);
    ExpectTheCpu(
        [&](const ExecContext& ctx) { return Decode(c, seeing, in, ctx); });
  }
};

INSTANTIATE_TEST_SUITE_P(Types, SparseDecodeCudaTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

TEST_P(SparseDecodeCudaTest, EveryCacheInEveryWidth) {
  for (const std::int64_t width : {8, 16, 32, 64, 128, 256}) {
    for (DecodeCase c : DecodeCases()) {
      c.attention.C = width;
      c.attention.scale = 0.5F / std::sqrt(static_cast<float>(width));
      ExpectTheCpuOn(c);
    }
  }
}

TEST_P(SparseDecodeCudaTest, LongCaches) {
  DecodeCase c = {{.name = "Long",
                   .T = 1,
                   .C = 64,
                   .query_begin = 20000,
                   .sinks = 4,
                   .window_H = {kDense, 8192, 4095},
                   .scale = 0.1F}};
  ExpectTheCpuOn(c);
  c.attention.window_H = {kDense, kDense, 100};
  c.attention.selected_rows = 1;
  c.attention.slot_H = {0, 1, -1};
  c.attention.block = 64;
  ExpectTheCpuOn(c);
}

TEST_P(SparseDecodeCudaTest, HugeScoresOfEitherSign) {
  for (const float q : {300.0F, -300.0F}) {
    DecodeCase c = {{.name = "Huge", .T = 1, .C = 8, .query_begin = 1500}};
    FloatAttention in(c.attention);
    std::fill(in.q_THC.begin(), in.q_THC.end(), q);
    std::fill(in.k_NGC.begin(), in.k_NGC.end(), 1.0F);
    const Seeing seeing = RowsThatSee(c.attention);
    ExpectTheCpu(
        [&](const ExecContext& ctx) { return Decode(c, seeing, in, ctx); });
  }
}

TEST_P(SparseDecodeCudaTest, WhatTheDeviceCannotDoIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto decode = [&](const DecodeCase& c) {
    const FloatAttention in(c.attention);
    Decode(c, RowsThatSee(c.attention), in, cuda());
  };
  DecodeCase c = {{.name = "Width", .T = 1, .C = 40, .query_begin = 9}};
  EXPECT_DEATH(decode(c), "head width 40: decoding on CUDA takes a power of");
  c = {{.name = "Ring",
        .T = 2,
        .C = 8,
        .query_begin = 100,
        .sinks = 4,
        .window_H = {10, 11, 10}},
       {16},
       4};
  EXPECT_DEATH(decode(c), "a row sees position 89, but of 102 positions");
  c.attention.window_H = {10, 10, 10};
  c.attention.sinks = 5;
  EXPECT_DEATH(decode(c), "a row sees position 4,");
}

// Once for each rule, order and size of a block.
class SelectTopPCudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = Device::Open(DeviceType::kCuda);
    if (!device.ok()) {
      GTEST_SKIP() << "skipped: " << device.status().message();
    }
    device_ = *std::move(device);
  }
  void Expect(const Selection& selection, const Problem& problem) const {
    SCOPED_TRACE(::testing::Message() << "block " << selection.block << ", N "
                                      << problem.N << ", R " << problem.R);
    const Result result = SelectOn(device_->ctx(), selection, problem);
    EXPECT_EQ(SelectOn(device_->ctx(), selection, problem), result);
    if (selection.rule == Selection::Rule::kTopP) {
      ExpectTheDefinition(selection, problem, result);
    } else {
      EXPECT_EQ(result, SelectBySorting(selection, problem));
    }
  }
  void ExpectForAllShares(Selection selection, const Problem& problem) const {
    for (const double p : {0.0, 0.5, 0.9, 0.999, 1.0}) {
      selection.top_p = p;
      Expect(selection, problem);
    }
  }

 private:
  std::unique_ptr<Device> device_;
};

TEST_F(SelectTopPCudaTest, KeepsTheMassAndNoMoreThanABinBesides) {
  for (const std::int64_t block : {1, 7, 16, 64, 100, 4096}) {
    for (const std::int64_t N : {1, 2, 63, 64, 65, 700}) {
      const Problem problem =
          RandomProblem(std::min<std::int64_t>(N, 9), N, 2, 8, 3);
      ExpectForAllShares({.block = block}, problem);
      ExpectForAllShares({.order = Selection::Order::kMaximum, .block = block},
                         problem);
    }
  }
}

TEST_F(SelectTopPCudaTest, EveryWidthAndManyKeys) {
  for (const std::int64_t R : {1, 3, 8, 16, 32}) {
    Expect({.scale = 0.125}, RandomProblem(70, 3000, 3, R, 30));
    Expect({}, RandomProblem(2, 70000, 2, R, 4));
  }
  Expect({.top_p = 0.99999, .block = 1}, RandomProblem(1, 20000, 1, 8, 10));
}

TEST_F(SelectTopPCudaTest, AdversarialScores) {
  std::vector<float> scores(2500, 0);
  Expect({}, WithScores(scores));  // all equal
  scores[1300] = 50;
  ExpectForAllShares({}, WithScores(scores));
  std::fill(scores.begin(), scores.end(), -1e4F);
  for (const std::size_t i : {70, 150, 230, 310}) {
    scores[i] = 1e4F;
  }
  scores[390] = 9999;
  ExpectForAllShares({}, WithScores(scores));
  ExpectForAllShares({.block = 1}, WithScores(scores));
}

TEST_F(SelectTopPCudaTest, RowsOfSeveralDocuments) {
  Problem problem = RandomProblem(90, 300, 2, 16, 3);
  for (std::int32_t n = 0; n < 300; ++n) {
    problem.document_N.push_back(n < 230 ? 0 : n < 233 ? 230 : 233);
  }
  for (const std::int64_t block : {1, 16, 64}) {
    ExpectForAllShares({.block = block}, problem);
    ExpectForAllShares({.block = block, .sinks = 0, .recent = 0}, problem);
  }
}

TEST_F(SelectTopPCudaTest, TopKKeepsExactlyKKeysForcedOnesAmongThem) {
  const Problem random = RandomProblem(5, 333, 2, 4, 3);
  const Problem equal = WithScores(std::vector<float>(333, 1));
  for (const std::int64_t k : {0, 1, 10, 69, 200, 1000}) {
    for (const std::int64_t block : {1, 16, 64}) {
      const Selection selection{
          .rule = Selection::Rule::kTopK, .top_k = k, .block = block};
      Expect(selection, random);
      Expect(selection, equal);
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
