// The small operators on a CUDA device against the CPU.

#include <algorithm>

#include "kernels/attention_mass.h"
#include "kernels/embedding.h"
#include "kernels/gate_heads.h"
#include "kernels/head_projection.h"
#include "kernels/permute.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "kernels/top_k_kl.h"
#include "tests/kernels/cuda/device_against_cpu.h"

namespace rtpurbo::testing {
namespace {

class OperatorsCudaTest : public CudaTest {};

INSTANTIATE_TEST_SUITE_P(Types, OperatorsCudaTest,
                         ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& p) { return Name(p.param); });

// Many repeat, as tokens of text do.
std::vector<std::int32_t> Ids(std::int64_t n, std::int32_t limit) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto mixed = static_cast<std::uint32_t>(i * i * 7 + i / 3);
    ids[i] = static_cast<std::int32_t>(mixed % 5 == 0 ? 0 : mixed) % limit;
  }
  return ids;
}

TEST_P(OperatorsCudaTest, Embedding) {
  for (const auto& [T, D] : {std::pair{700, 96}, {1, 7}, {0, 8}, {257, 33}}) {
    ExpectTheCpu([&, T = T, D = D](const ExecContext& ctx) {
      const Tensor id = FromHost(ctx, Ids(T, 50), {T});
      Tensor y = Unwritten(ctx, dtype(), {T, D});
      kernels::EmbeddingForward(ctx, Random(ctx, dtype(), {50, D}, 1), id, &y);
      Tensor dw = Random(ctx, DType::kF32, {50, D}, 2);
      kernels::EmbeddingBackward(ctx, id, Random(ctx, dtype(), {T, D}, 3), &dw);
      return DeviceResults{y, dw};
    });
  }
}

TEST_P(OperatorsCudaTest, RopeThereAndBack) {
  ExpectTheCpu([&](const ExecContext& ctx) {
    Tensor cosine = Unwritten(ctx, DType::kF32, {300, 16});
    Tensor sine = Unwritten(ctx, DType::kF32, {300, 16});
    kernels::RopeTables(ctx, 1e6, 300, 32, &cosine, &sine);
    const Tensor x = Random(ctx, dtype(), {41, 3, 32}, 1);
    const Tensor position = FromHost(ctx, Ids(41, 300), {41});
    Tensor y = Unwritten(ctx, dtype(), x.shape());
    kernels::Rope(ctx, x, position, cosine, sine, false, &y);
    Tensor back = y.Clone(ctx);
    kernels::Rope(ctx, back, position, cosine, sine, true, &back);
    return DeviceResults{cosine, sine, y, back};
  });
}

TEST_P(OperatorsCudaTest, RouterAlsoWithEqualScores) {
  for (const bool normalize : {false, true}) {
    for (const std::int64_t E : {5, 128}) {
      ExpectTheCpu([&](const ExecContext& ctx) {
        std::vector<float> scores = Normal(70 * E, 1);
        std::fill_n(scores.begin(), 2 * E, 0.5F);
        const Tensor z = FromFloats(ctx, dtype(), scores, {70, E});
        Tensor prob = Unwritten(ctx, DType::kF32, {70, E});
        Tensor expert =
            FromHost(ctx, std::vector<std::int32_t>(280, -1), {70, 4});
        kernels::RouterSelect(ctx, z, &prob, &expert);
        Tensor weight = Unwritten(ctx, DType::kF32, {70, 4});
        kernels::RouterWeights(ctx, prob, expert, normalize, &weight);
        Tensor dz = Unwritten(ctx, dtype(), {70, E});
        kernels::RouterBackward(ctx, prob, expert, normalize,
                                Random(ctx, DType::kF32, {70, 4}, 2), &dz);
        return DeviceResults{prob, expert, weight, dz};
      });
    }
  }
}

TEST_P(OperatorsCudaTest, PermuteAndCombine) {
  for (const auto& [T, K, E, D] :
       {std::tuple{300, 4, 16, 40}, {1, 1, 1, 3}, {90, 8, 128, 64}}) {
    ExpectTheCpu([&, T = T, K = K, E = E, D = D](const ExecContext& ctx) {
      const std::int64_t N = std::int64_t{T} * K;
      const Tensor expert = FromHost(ctx, Ids(N, E), {T, K});
      const std::vector<std::int32_t> nowhere(static_cast<std::size_t>(N), -1);
      Tensor place = FromHost(ctx, nowhere, {T, K});
      Tensor source = FromHost(ctx, nowhere, {N});
      Tensor offset = FromHost(
          ctx, std::vector<std::int32_t>(static_cast<std::size_t>(E) + 1, -1),
          {E + 1});
      kernels::PermuteLayout(ctx, expert, &place, &source, &offset);
      Tensor sorted = Unwritten(ctx, dtype(), {N, D});
      kernels::PermuteForward(ctx, Random(ctx, dtype(), {T, D}, 1), source, K,
                              &sorted);
      Tensor dx = Unwritten(ctx, dtype(), {T, D});
      kernels::PermuteBackward(ctx, sorted, place, &dx);
      const Tensor weight = Random(ctx, DType::kF32, {T, K}, 2);
      Tensor y = Unwritten(ctx, dtype(), {T, D});
      kernels::CombineForward(ctx, sorted, weight, place, &y);
      Tensor dsorted = Unwritten(ctx, dtype(), {N, D});
      Tensor dweight = Unwritten(ctx, DType::kF32, {T, K});
      kernels::CombineBackward(ctx, sorted, weight, place,
                               Random(ctx, dtype(), {T, D}, 3), &dsorted,
                               &dweight);
      return DeviceResults{place, source, offset,  sorted,
                           dx,    y,      dsorted, dweight};
    });
  }
}

TEST_P(OperatorsCudaTest, GateHeads) {
  ExpectTheCpu([&](const ExecContext& ctx) {
    const Shape shape = {600, 3, 16};
    const Tensor full = Random(ctx, dtype(), shape, 1);
    const Tensor local = Random(ctx, dtype(), shape, 2);
    const Tensor gate = FromHost(ctx, std::vector<float>{0, 0.3F, 1}, {3});
    Tensor y = Unwritten(ctx, dtype(), shape);
    kernels::GateHeadsForward(ctx, full, local, gate, &y);
    Tensor dfull = Unwritten(ctx, dtype(), shape);
    Tensor dlocal = Unwritten(ctx, dtype(), shape);
    Tensor dgate = Random(ctx, DType::kF32, {3}, 4);
    kernels::GateHeadsBackward(ctx, full, local, gate,
                               Random(ctx, dtype(), shape, 3), &dfull, &dlocal,
                               &dgate);
    return DeviceResults{y, dfull, dlocal, dgate};
  });
}

TEST_P(OperatorsCudaTest, AttentionMass) {
  ExpectTheCpu([&](const ExecContext& ctx) {
    kernels::AttentionPattern pattern;
    pattern.scale = 0.2F;
    pattern.kv_head_H = {1, 0, 1};
    const std::vector<float> lse(std::size_t{3} * 80, 4.0F);
    Tensor mass = Unwritten(ctx, DType::kF32, {3});
    kernels::AttentionMass(ctx, pattern, Random(ctx, dtype(), {80, 3, 24}, 1),
                           Random(ctx, dtype(), {200, 2, 24}, 2), 120,
                           FromHost(ctx, lse, {3, 80}), {150, 187}, {3, 70},
                           &mass);
    return DeviceResults{mass};
  });
}

TEST_P(OperatorsCudaTest, HeadProjection) {
  ExpectTheCpu([&](const ExecContext& ctx) {
    const std::vector<std::int32_t> heads = {2, 0, 2};
    const Tensor x = Random(ctx, dtype(), {1100, 3, 32}, 1);
    const Tensor w = Random(ctx, DType::kF32, {3, 8, 32}, 2);
    Tensor y = Unwritten(ctx, DType::kF32, {1100, 3, 8});
    kernels::HeadProjectionForward(ctx, x, w, heads, &y);
    Tensor dw = Random(ctx, DType::kF32, {3, 8, 32}, 3);
    kernels::HeadProjectionBackward(
        ctx, x, Random(ctx, DType::kF32, {1100, 3, 8}, 4), heads, &dw);
    return DeviceResults{y, dw};
  });
}

TEST_P(OperatorsCudaTest, TopKAndItsLoss) {
  ExpectTheCpu([&](const ExecContext& ctx) {
    constexpr std::int64_t kRows = 37;
    constexpr std::int64_t kVocabulary = 1000;
    std::vector<float> logits = Normal(kRows * kVocabulary, 1);
    std::fill_n(logits.begin(), kVocabulary, 1.0F);  // all equal
    const Tensor z = FromFloats(ctx, dtype(), logits, {kRows, kVocabulary});
    Tensor value = Unwritten(ctx, DType::kF32, {kRows, 10});
    Tensor id =
        FromHost(ctx, std::vector<std::int32_t>(kRows * 10, -1), {kRows, 10});
    Tensor lse = Unwritten(ctx, DType::kF32, {kRows});
    kernels::TopK(ctx, z, &value, &id, &lse);
    const Tensor x = Random(ctx, dtype(), {kRows, 64}, 2);
    const Tensor w = Random(ctx, dtype(), {kVocabulary, 64}, 3);
    Tensor dz = Unwritten(ctx, DType::kF32, {kRows, 10});
    Tensor loss = Unwritten(ctx, DType::kF32, {1});
    kernels::TopKKlForward(ctx, x, w, id, value, &dz, &loss);
    Tensor dx = Unwritten(ctx, dtype(), {kRows, 64});
    Tensor dw = Random(ctx, DType::kF32, {kVocabulary, 64}, 4);
    kernels::TopKKlBackward(ctx, x, w, id, dz, Scalar(ctx, 0.7F), &dx, &dw);
    return DeviceResults{value, id, lse, dz, loss, dx, dw};
  });
}

}  // namespace
}  // namespace rtpurbo::testing
