// What every Communicator must do about groups of its ranks, and what it must
// count. Included beside communicator_conformance.h.

#ifndef RTPURBO_TESTS_DIST_COMMUNICATOR_GROUPS_H_
#define RTPURBO_TESTS_DIST_COMMUNICATOR_GROUPS_H_

#include <memory>
#include <numeric>
#include <vector>

#include "tests/dist/communicator_conformance.h"

namespace rtpurbo::testing {

// The ranks of `comm` with the parity of this one, the last of them first.
inline std::vector<int> SameParity(const Communicator& comm) {
  std::vector<int> ranks;
  for (int rank = comm.size() - 1; rank >= 0; --rank) {
    if (rank % 2 == comm.rank() % 2) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

inline void ExpectMembers(const ExecContext& ctx, Communicator& group,
                          const std::vector<int>& members, int me) {
  ASSERT_EQ(group.size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[static_cast<std::size_t>(group.rank())], me);
  Tensor all = Poisoned<std::int32_t>(ctx, {group.size()});
  ASSERT_OK(group.AllGather(ctx, FromHost<std::int32_t>(ctx, {me}, {1}), &all));
  EXPECT_EQ(ToHost<std::int32_t>(ctx, all),
            std::vector<std::int32_t>(members.begin(), members.end()));
}

TEST_P(CommunicatorTest, SplitMakesGroupsInTheOrderOfTheList) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm) {
    const std::vector<int> members = SameParity(comm);
    ASSERT_OK_AND_ASSIGN(const auto group, comm.Split(members));
    ExpectMembers(ctx, *group, members, comm.rank());
    EXPECT_OK(comm.Barrier());  // the parent can still be used
    ASSERT_OK_AND_ASSIGN(const auto again, comm.Split(members));
    ExpectMembers(ctx, *again, members, comm.rank());
    ExpectMembers(ctx, *group, members, comm.rank());
  });
}

TEST_P(CommunicatorTest, GroupsCanBeSplitAndOutliveTheirParents) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm) {
    std::vector<int> all(static_cast<std::size_t>(comm.size()));
    std::iota(all.begin(), all.end(), 0);
    std::unique_ptr<Communicator> child;
    {
      ASSERT_OK_AND_ASSIGN(const auto parent, comm.Split(all));
      parent->set_timeout(std::chrono::seconds(77));
      ASSERT_OK_AND_ASSIGN(child, parent->Split(SameParity(comm)));
    }
    ExpectMembers(ctx, *child, SameParity(comm), comm.rank());
    EXPECT_EQ(child->timeout(), std::chrono::seconds(77));
  });
}

TEST_P(CommunicatorTest, GroupsFailAlone) {
  ForAllRanks([](const ExecContext&, Communicator& comm) {
    ASSERT_OK_AND_ASSIGN(const auto group, comm.Split(SameParity(comm)));
    ASSERT_OK_AND_ASSIGN(const auto other, comm.Split(SameParity(comm)));
    group->Abort("enough");
    EXPECT_THAT(group->Barrier(), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_OK(other->Barrier());
    EXPECT_OK(comm.Barrier());
  });
}

inline void ExpectBytes(const Communicator& comm, CommOp op,
                        std::int64_t num_calls, std::int64_t sent,
                        std::int64_t received) {
  const CommStats::Entry& entry = comm.stats().of(op);
  EXPECT_EQ(entry.num_calls, num_calls) << Name(op);
  EXPECT_EQ(entry.bytes_sent, sent) << Name(op);
  EXPECT_EQ(entry.bytes_received, received) << Name(op);
  EXPECT_GT(entry.seconds, 0) << Name(op);
}

// The formulas of dist/communicator.h.
TEST_P(CommunicatorTest, BytesSentAndReceivedAreCounted) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm) {
    const std::int64_t size = comm.size();
    const std::int64_t others = size - 1;
    const std::int64_t n = 12'000;
    const std::int64_t last = size - 1;
    Tensor part = Tensor::Zeros(ctx, DType::kF32, {n});
    Tensor full = Tensor::Zeros(ctx, DType::kF32, {n * size});
    Tensor half = Tensor::Zeros(ctx, DType::kBF16, {n * size});
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(size), 10);
    Tensor from = Tensor::Zeros(ctx, DType::kBF16, {10 * size, 8});
    Tensor to = Tensor::Zeros(ctx, DType::kBF16, {10 * size, 8});

    ASSERT_OK(comm.AllGather(ctx, part, &full));
    ExpectBytes(comm, CommOp::kAllGather, 1, 4 * n * others, 4 * n * others);
    ASSERT_OK(comm.ReduceScatter(ctx, half, &part));
    ASSERT_OK(comm.ReduceScatter(ctx, half, &part));
    ExpectBytes(comm, CommOp::kReduceScatter, 2, 4 * n * others,
                4 * n * others);
    ASSERT_OK(comm.AllReduce(ctx, ReduceOp::kSum, &full));
    ExpectBytes(comm, CommOp::kAllReduce, 1, 8 * n * others, 8 * n * others);
    ASSERT_OK(comm.AllToAll(ctx, from, rows, rows, &to));
    ExpectBytes(comm, CommOp::kAllToAll, 1, 160 * others, 160 * others);
    ASSERT_OK(comm.Broadcast(ctx, static_cast<int>(last), &part));
    const bool is_root = comm.rank() == last;
    ExpectBytes(comm, CommOp::kBroadcast, 1, is_root ? 4 * n * others : 0,
                is_root ? 0 : 4 * n);
    ASSERT_OK(comm.Barrier());
    ExpectBytes(comm, CommOp::kBarrier, 1, 0, 0);
    EXPECT_EQ(comm.stats().total().num_calls, 7);
  });
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DIST_COMMUNICATOR_GROUPS_H_
