// Rows that go to the ranks of their experts and come back are what one rank
// with all tokens and all experts computes: values and gradients.

#include "model/expert_exchange.h"

#include <mutex>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/core/rng.h"
#include "kernels/permute.h"
#include "tests/device_test.h"
#include "tests/dist/ranks.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kExperts = 8;
constexpr std::int64_t kChoices = 2;
constexpr std::int64_t kIn = 5;
constexpr std::int64_t kOut = 3;

// Tokens of each rank, and which experts they choose from.
struct ExchangeCase {
  std::string name;
  std::vector<std::int64_t> tokens;
  std::uint64_t first_expert = 0;
  std::uint64_t num_experts = kExperts;
};

std::vector<ExchangeCase> Cases() {
  return {
      {"OneRank", {7}},
      {"Two", {9, 4}},
      {"Four", {3, 8, 1, 5}},
      {"OneRankHasNoTokens", {6, 0}},
      {"OneRankGetsNoRows", {6, 5}, 4, 4},
      {"AllGoToTwoExperts", {3, 8, 1, 5}, 2, 2},
      {"NobodyHasTokens", {0, 0}},
  };
}

// Two different experts a token.
std::vector<std::int32_t> ChoicesOf(const ExchangeCase& c, std::size_t rank) {
  Rng rng(7, rank);
  std::vector<std::int32_t> choices;
  for (std::int64_t t = 0; t < c.tokens[rank]; ++t) {
    const std::uint64_t first = rng.Below(c.num_experts);
    const std::uint64_t other =
        (first + 1 + rng.Below(c.num_experts - 1)) % c.num_experts;
    for (const std::uint64_t e : {first, other}) {
      choices.push_back(static_cast<std::int32_t>(c.first_expert + e));
    }
  }
  return choices;
}

Tensor TokensOf(const ExecContext& ctx, const ExchangeCase& c,
                std::size_t rank) {
  return Random(ctx, DType::kF32, {c.tokens[rank], kIn}, 20 + rank);
}

Tensor AllWeights(const ExecContext& ctx) {
  return Random(ctx, DType::kF32, {kExperts, kOut, kIn}, 3);
}

struct Layout {
  Layout(const ExecContext& ctx, const std::vector<std::int32_t>& choices) {
    const auto n = static_cast<std::int64_t>(choices.size());
    const Tensor expert_TK = FromHost(ctx, choices, {n / kChoices, kChoices});
    place_TK = Tensor::Empty(ctx, DType::kI32, expert_TK.shape());
    source_N = Tensor::Empty(ctx, DType::kI32, {n});
    offset_E = Tensor::Empty(ctx, DType::kI32, {kExperts + 1});
    kernels::PermuteLayout(ctx, expert_TK, &place_TK, &source_N, &offset_E);
  }
  Tensor place_TK;
  Tensor source_N;
  Tensor offset_E;
};

// Rows of outputs in the tokens' order, and gradients of tokens and weights.
struct Passes {
  std::vector<float> y;
  std::vector<float> dx;
  std::vector<float> dw;
};

// The loss weighs every output by its place among all tokens' choices.
Passes Finish(Tape& tape, const Var& x, const Var& w, const Var& y_ND,
              const Tensor& place_TK, std::int64_t first_token) {
  const ExecContext& ctx = tape.ctx();
  const std::int64_t T = place_TK.dim(0);
  std::vector<float> weight;
  for (std::int64_t i = 0; i < T * kChoices; ++i) {
    weight.push_back(static_cast<float>(first_token * kChoices + i + 1) / 10);
  }
  const Var y = ops::Combine(
      tape, y_ND, Var(FromHost(ctx, weight, place_TK.shape()), false),
      place_TK);
  Tensor seed = FromHost(
      ctx, std::vector<float>(static_cast<std::size_t>(T * kOut), 1.0F),
      {T, kOut});
  tape.Backward(y, seed);
  const auto floats = [&](const Tensor& t, std::int64_t size) {
    return t.defined()
               ? ToFloats(ctx, t)
               : std::vector<float>(static_cast<std::size_t>(size), 0.0F);
  };
  return {ToFloats(ctx, y.value()), floats(x.grad(), x.value().size()),
          floats(w.grad(), w.value().size())};
}

Passes OnOneRank(const ExchangeCase& c) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  std::vector<float> tokens;
  std::vector<std::int32_t> choices;
  for (std::size_t rank = 0; rank < c.tokens.size(); ++rank) {
    for (const float value : ToFloats(ctx, TokensOf(ctx, c, rank))) {
      tokens.push_back(value);
    }
    for (const std::int32_t choice : ChoicesOf(c, rank)) {
      choices.push_back(choice);
    }
  }
  const Layout layout(ctx, choices);
  const auto rows = static_cast<std::int64_t>(tokens.size()) / kIn;
  const Var x(FromHost(ctx, tokens, {rows, kIn}), true);
  const Var w(AllWeights(ctx), true);
  Tape tape(ctx);
  const Var x_ND = ops::Permute(tape, x, layout.place_TK, layout.source_N);
  return Finish(tape, x, w, ops::GroupedLinear(tape, x_ND, w, layout.offset_E),
                layout.place_TK, 0);
}

Passes OnRank(const ExecContext& ctx, Communicator& comm,
              const ExchangeCase& c) {
  const auto rank = static_cast<std::size_t>(comm.rank());
  const Layout layout(ctx, ChoicesOf(c, rank));
  const std::int64_t share = kExperts / comm.size();
  const Var x(TokensOf(ctx, c, rank), true);
  const Var w(
      AllWeights(ctx).Slice(comm.rank() * share, (comm.rank() + 1) * share),
      true);
  Tape tape(ctx);
  const ExpertExchange exchange = MakeExpertExchange(
      ToHost<std::int32_t>(ctx, layout.source_N),
      ToHost<std::int32_t>(ctx, layout.offset_E),
      ToHost<std::int32_t>(ctx, TradeExpertCounts(ctx, comm, layout.offset_E)),
      kChoices, comm.size());
  const Var x_MD = ops::TradeRows(tape, comm, exchange.there, x)[0];
  const Var y_MD = ops::GroupedLinear(
      tape, x_MD, w, FromHost(ctx, exchange.offset_E, {share + 1}));
  const Var y_ND = ops::TradeRows(tape, comm, exchange.back, y_MD)[0];
  std::int64_t first = 0;
  for (std::size_t other = 0; other < rank; ++other) {
    first += c.tokens[other];
  }
  return Finish(tape, x, w, y_ND, layout.place_TK, first);
}

class ExpertExchangeTest : public ::testing::TestWithParam<ExchangeCase> {};

INSTANTIATE_TEST_SUITE_P(All, ExpertExchangeTest, ::testing::ValuesIn(Cases()),
                         [](const auto& p) { return p.param.name; });

// Laid end to end, tokens and experts of all ranks are those of one.
TEST_P(ExpertExchangeTest, IsWhatOneRankComputes) {
  const ExchangeCase& c = GetParam();
  std::vector<Passes> parts(c.tokens.size());
  std::mutex mutex;
  RunCpuRanks(static_cast<int>(c.tokens.size()),
              [&](const ExecContext& ctx, Communicator& comm) {
                Passes part = OnRank(ctx, comm, c);
                EXPECT_TRUE(comm.Poll().ok()) << comm.Poll();
                const std::lock_guard<std::mutex> lock(mutex);
                parts[static_cast<std::size_t>(comm.rank())] = std::move(part);
              });
  Passes all;
  for (const Passes& part : parts) {
    all.y.insert(all.y.end(), part.y.begin(), part.y.end());
    all.dx.insert(all.dx.end(), part.dx.begin(), part.dx.end());
    all.dw.insert(all.dw.end(), part.dw.begin(), part.dw.end());
  }
  const Passes one = OnOneRank(c);
  EXPECT_EQ(all.y, one.y);  // products of rows: no sum is cut
  ASSERT_EQ(all.dx.size(), one.dx.size());
  for (std::size_t i = 0; i < one.dx.size(); ++i) {
    EXPECT_NEAR(all.dx[i], one.dx[i], 1e-5) << i;
  }
  ASSERT_EQ(all.dw.size(), one.dw.size());
  for (std::size_t i = 0; i < one.dw.size(); ++i) {
    EXPECT_NEAR(all.dw[i], one.dw[i], 2e-5) << i;
  }
}

TEST(ExpertCountsTest, AreZeroAfterAFailure) {
  RunCpuRanks(2, [](const ExecContext& ctx, Communicator& comm) {
    comm.Abort("rank 5 died");
    const Tensor offset_E =
        FromHost(ctx, std::vector<std::int32_t>{0, 3, 5}, {3});
    EXPECT_EQ(ToHost<std::int32_t>(ctx, TradeExpertCounts(ctx, comm, offset_E)),
              (std::vector<std::int32_t>{0, 0}));
    EXPECT_FALSE(comm.Poll().ok());
  });
}

}  // namespace
}  // namespace rtpurbo::testing
