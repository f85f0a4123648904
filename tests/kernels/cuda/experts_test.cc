// Products per expert and the selection of key blocks on a CUDA device against
// the CPU.

#include "kernels/grouped_matmul.h"
#include "kernels/range_attention.h"
#include "kernels/select_top_p.h"
#include "tests/kernels/cuda/device_against_cpu.h"

namespace rtpurbo::testing {
namespace {

class ExpertsCudaTest : public CudaTest {};

INSTANTIATE_TEST_SUITE_P(Types, ExpertsCudaTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

// Ragged, with an empty expert at either end and one in the middle.
const std::vector<std::int32_t> kOffsets = {0,   0,   130, 131, 131,
                                            259, 300, 429, 429};
constexpr std::int64_t kExperts = 8;
constexpr std::int64_t kRows = 429;

TEST_P(ExpertsCudaTest, GroupedMatmulOfEitherOrder) {
  for (const auto& [K, M] :
       {std::pair{128, 320}, {96, 72}, {200, 264}, {7, 5}, {64, 256}}) {
    for (const bool trans : {false, true}) {
      SCOPED_TRACE(::testing::Message() << K << " " << M << " " << trans);
      ExpectTheCpu([&, K = K, M = M](const ExecContext& ctx) {
        const Tensor offset = FromHost(ctx, kOffsets, {kExperts + 1});
        const Shape w = trans ? Shape{kExperts, M, K} : Shape{kExperts, K, M};
        Tensor c = Unwritten(ctx, dtype(), {kRows, M});
        kernels::GroupedMatmul(ctx, Random(ctx, dtype(), {kRows, K}, 1), offset,
                               Random(ctx, dtype(), w, 2), trans, &c);
        return DeviceResults{c};
      });
    }
  }
}

TEST_P(ExpertsCudaTest, WeightGradientIsAddedTo) {
  for (const auto& [X, Y] :
       {std::pair{128, 320}, {72, 96}, {200, 264}, {7, 5}}) {
    SCOPED_TRACE(::testing::Message() << X << " " << Y);
    ExpectTheCpu([&, X = X, Y = Y](const ExecContext& ctx) {
      Tensor dw = Random(ctx, DType::kF32, {kExperts, X, Y}, 3);
      kernels::GroupedMatmulWeightGrad(ctx, Random(ctx, dtype(), {kRows, X}, 1),
                                       Random(ctx, dtype(), {kRows, Y}, 2),
                                       FromHost(ctx, kOffsets, {kExperts + 1}),
                                       &dw);
      return DeviceResults{dw};
    });
  }
}

class SelectTopPCudaTest : public CudaTest {
 protected:
  // The selection of M last rows over N keys: masks and counts. Scores are
  // spread so far that a difference of rounding moves no block over an edge.
  void ExpectTheCpuFor(const kernels::Selection& selection, std::int64_t M,
                       std::int64_t N, std::int64_t R) const {
    SCOPED_TRACE(::testing::Message() << M << " " << N << " " << R);
    ExpectTheCpu([&](const ExecContext& ctx) {
      constexpr std::int64_t kSlots = 3;
      const Tensor x = Random(ctx, DType::kF32, {M, kSlots, R}, 1);
      const Tensor y = Random(ctx, DType::kF32, {N, kSlots, R}, 2);
      std::vector<std::int32_t> documents(static_cast<std::size_t>(N), 0);
      for (std::size_t i = documents.size() / 3; i < documents.size(); ++i) {
        documents[i] = static_cast<std::int32_t>(documents.size() / 3);
      }
      const std::int64_t words = kernels::MaskWords(N, selection.block);
      Tensor mask = FromHost(
          ctx,
          std::vector<std::int32_t>(static_cast<std::size_t>(3 * M * words), 7),
          {kSlots, M, words});
      Tensor kept = FromHost(
          ctx, std::vector<std::int32_t>(static_cast<std::size_t>(6 * M), 7),
          {kSlots, M, 2});
      kernels::SelectTopP(ctx, selection, x, y, N - M,
                          FromHost(ctx, documents, {N}), &mask, &kept);
      return DeviceResults{mask, kept};
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Types, SelectTopPCudaTest,
                         ::testing::Values(DType::kF32),
                         [](const auto& p) { return Name(p.param); });

TEST_P(SelectTopPCudaTest, EqualsTheHistogramOfTheCpu) {
  for (const auto order : {kernels::Selection::Order::kMass,
                           kernels::Selection::Order::kMaximum}) {
    for (const std::int64_t R : {8, 16, 5}) {
      kernels::Selection selection = {.order = order, .scale = 0.7F};
      ExpectTheCpuFor(selection, 3, 5000, R);
      selection.block = 16;
      selection.recent = 20;
      ExpectTheCpuFor(selection, 2, 999, R);
    }
  }
}

TEST_P(SelectTopPCudaTest, TopKTakesForcedBlocksFirst) {
  for (const std::int64_t top_k : {0, 100, 640, 100000}) {
    ExpectTheCpuFor({.rule = kernels::Selection::Rule::kTopK,
                     .top_k = top_k,
                     .scale = 0.7F},
                    2, 5000, 16);
  }
}

TEST_P(SelectTopPCudaTest, AllAndNothing) {
  for (const double top_p : {0.0, 1.0, 0.5}) {
    ExpectTheCpuFor({.top_p = top_p, .block = 64}, 1, 20000, 16);
  }
}

}  // namespace
}  // namespace rtpurbo::testing
