// Rows that ranks give each other: what arrives, where gradients go, in which
// order they are added up, and how many bytes that takes.

#include <cstdint>
#include <vector>

#include "autograd/ops/ops.h"
#include "dist/communicator.h"
#include "gtest/gtest.h"
#include "tests/device_test.h"
#include "tests/dist/ranks.h"

namespace rtpurbo::testing {
namespace {

constexpr std::int64_t kWidth = 2;

// Three ranks. Rank r has rows 10 r, 10 r + 1, 10 r + 2 (the values of both
// columns), and gives row i to rank q if i <= q. Results: the rows from others
// backwards, the first of them again, and nothing.
ops::RowTrade SomeTrade(int rank) {
  ops::RowTrade trade;
  std::int32_t received = 0;
  for (int other = 0; other < 3; ++other) {
    for (std::int32_t i = 0; i <= other; ++i) {
      trade.sent.push_back(i);
    }
    trade.send_rows.push_back(other + 1);
    trade.receive_rows.push_back(rank + 1);
    received += rank + 1;
  }
  trade.results.resize(3);
  for (std::int32_t i = received; i-- > 0;) {
    trade.results[0].push_back(i);
  }
  trade.results[1] = {0, 0};
  return trade;
}

Tensor RowsOf(const ExecContext& ctx, DType dtype, int rank) {
  std::vector<float> values;
  for (int i = 0; i < 3; ++i) {
    values.insert(values.end(), kWidth, static_cast<float>(10 * rank + i));
  }
  return FromFloats(ctx, dtype, values, {3, kWidth});
}

TEST(TradeRowsTest, EachRankGetsTheRowsThatOthersSend) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    Tape tape(ctx, Tape::Mode::kOff);
    const std::vector<Var> y =
        ops::TradeRows(tape, comm, SomeTrade(comm.rank()),
                       Var(RowsOf(ctx, DType::kF32, comm.rank()), true));
    std::vector<float> expected;
    for (int other = 2; other >= 0; --other) {
      for (int i = comm.rank(); i >= 0; --i) {
        expected.insert(expected.end(), kWidth,
                        static_cast<float>(10 * other + i));
      }
    }
    EXPECT_EQ(ToFloats(ctx, y[0].value()), expected);
    EXPECT_EQ(ToFloats(ctx, y[1].value()), std::vector<float>(4, 0.0F));
    EXPECT_EQ(y[2].value().shape(), (Shape{0, kWidth}));
    EXPECT_EQ(tape.num_nodes(), 0U);
  });
}

// Rank q gives the gradient 2^q to each row of its first result and 16 to each
// of its second one, which is rank 0's row 0 twice: a row's gradient is this.
float GradientOfRow(int rank, int row) {
  float sum = 0;
  for (int user = row; user < 3; ++user) {
    sum += static_cast<float>(1 << user);
    sum += rank == 0 && row == 0 ? 32 : 0;
  }
  return sum;
}

TEST(TradeRowsTest, GradientsOfAllRanksGoToTheOwner) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    RunCpuRanks(3, [dtype](const ExecContext& ctx, Communicator& comm) {
      const Var x(RowsOf(ctx, dtype, comm.rank()), true);
      Tape tape(ctx);
      const std::vector<Var> y =
          ops::TradeRows(tape, comm, SomeTrade(comm.rank()), x);
      const auto filled = [&](std::size_t i, float value) {
        const Shape& shape = y[i].value().shape();
        return Var(
            FromFloats(ctx, dtype,
                       std::vector<float>(
                           static_cast<std::size_t>(NumElements(shape)), value),
                       shape),
            false);
      };
      const auto q = static_cast<float>(1 << comm.rank());
      const Var joined = ops::ConcatRows(tape, {y[0], y[1], y[2]});
      const Var seed =
          ops::ConcatRows(tape, {filled(0, q), filled(1, 16), filled(2, 0)});
      tape.Backward(joined, seed.value());
      std::vector<float> expected;
      for (int i = 0; i < 3; ++i) {
        expected.insert(expected.end(), kWidth, GradientOfRow(comm.rank(), i));
      }
      EXPECT_EQ(x.grad().dtype(), dtype);
      EXPECT_EQ(ToFloats(ctx, x.grad()), expected);
    });
  }
}

// 2^24 + 1 rounds to 2^24 in f32: (2^24 + 1) + 1 is not 2^24 + (1 + 1).
TEST(TradeRowsTest, GradientsAreAddedUpInRankOrder) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    ops::RowTrade trade;
    trade.send_rows = {0, 0, 0};
    trade.receive_rows = {1, 0, 0};
    trade.results = {{0}};
    if (comm.rank() == 0) {
      trade.sent = {0, 0, 0};
      trade.send_rows = {1, 1, 1};
    }
    const Var x(FromHost(ctx, std::vector<float>{1}, {1, 1}), true);
    Tape tape(ctx);
    const Var y = ops::TradeRows(tape, comm, trade, x).front();
    const float seed = comm.rank() == 0 ? 0x1p24F : 1;
    tape.Backward(y, FromHost(ctx, std::vector<float>{seed}, {1, 1}));
    EXPECT_EQ(ToFloats(ctx, x.grad())[0], comm.rank() == 0 ? 0x1p24F : 0);
  });
}

TEST(TradeRowsTest, OnlyRowsForOthersTravelAndARankWithoutLossTakesPart) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    const Var x(RowsOf(ctx, DType::kBF16, comm.rank()), true);
    Tape tape(ctx);
    const std::vector<Var> y =
        ops::TradeRows(tape, comm, SomeTrade(comm.rank()), x);
    const std::int64_t row_bytes = kWidth * 2;
    const std::int64_t from_each = comm.rank() + 1;
    const std::int64_t sent = 6 - from_each;
    const std::int64_t received = 2 * from_each;
    const CommStats::Entry forward = comm.stats().of(CommOp::kAllToAll);
    EXPECT_EQ(forward.bytes_sent, sent * row_bytes);
    EXPECT_EQ(forward.bytes_received, received * row_bytes);
    if (comm.rank() == 2) {
      tape.Backward(y[0], y[0].value());
    } else {
      tape.Backward(Var(), 1);
    }
    const CommStats::Entry both = comm.stats().of(CommOp::kAllToAll);
    EXPECT_EQ(both.bytes_sent - forward.bytes_sent, received * row_bytes);
    EXPECT_EQ(both.bytes_received - forward.bytes_received, sent * row_bytes);
    EXPECT_TRUE(x.grad().defined());
  });
}

}  // namespace
}  // namespace rtpurbo::testing
