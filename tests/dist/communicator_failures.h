// What every Communicator of two or more ranks must do when one of them does
// something else than the others. Included beside communicator_conformance.h:
//
//   INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorFailureTest,
//                            ::testing::Values(Ranks{{2, 3, 4}, RunRanks}));

#ifndef RTPURBO_TESTS_DIST_COMMUNICATOR_FAILURES_H_
#define RTPURBO_TESTS_DIST_COMMUNICATOR_FAILURES_H_

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/dist/communicator_conformance.h"

namespace rtpurbo::testing {

// Rank 0 always does what is right, the last one does not.
class CommunicatorFailureTest : public ::testing::TestWithParam<Ranks> {
 protected:
  using Call = std::function<absl::Status(const ExecContext&, Communicator&)>;

  static void ForAllRanks(
      const std::function<void(const ExecContext&, Communicator&, int last)>&
          fn) {
    for (const int size : GetParam().sizes) {
      GetParam().run(size, [&](Communicator& comm) {
        const auto device = *Device::Open(DeviceType::kCpu);
        fn(device->ctx(), comm, comm.size() - 1);
      });
    }
  }

  // Expects that `call` fails with `expected` and that nothing works any more.
  static void ExpectPoisoned(Communicator& comm, const absl::Status& status,
                             absl::StatusCode code,
                             const std::string& expected) {
    EXPECT_THAT(status, StatusIs(code, ::testing::HasSubstr(expected)));
    EXPECT_EQ(comm.Poll(), status);
    EXPECT_EQ(comm.Barrier(), status);
    EXPECT_EQ(comm.Split(std::vector<int>{comm.rank()}).status(), status);
  }

  // Expects "rank 0 calls <right>, but rank <last> calls <wrong>" on all ranks.
  static void ExpectMismatch(const Call& right, const std::string& right_name,
                             const Call& wrong, const std::string& wrong_name) {
    ForAllRanks([&](const ExecContext& ctx, Communicator& comm, int last) {
      const absl::Status status =
          comm.rank() == last ? wrong(ctx, comm) : right(ctx, comm);
      ExpectPoisoned(comm, status, absl::StatusCode::kInvalidArgument,
                     absl::StrCat("rank 0 calls ", right_name, ", but rank ",
                                  last, " calls ", wrong_name));
    });
  }

  static Call Gather(DType dtype, std::int64_t n) {
    return [=](const ExecContext& ctx, Communicator& comm) {
      Tensor full = Tensor::Zeros(ctx, dtype, {n * comm.size()});
      return comm.AllGather(ctx, Tensor::Zeros(ctx, dtype, {n}), &full);
    };
  }
  static Call Reduce(ReduceOp op, std::int64_t n) {
    return [=](const ExecContext& ctx, Communicator& comm) {
      Tensor inout = Tensor::Zeros(ctx, DType::kF32, {n});
      return comm.AllReduce(ctx, op, &inout);
    };
  }
  static Call BroadcastFrom(int root) {
    return [=](const ExecContext& ctx, Communicator& comm) {
      Tensor inout = Tensor::Zeros(ctx, DType::kBF16, {3});
      return comm.Broadcast(ctx, root, &inout);
    };
  }
  static absl::Status Barrier(const ExecContext& /*ctx*/, Communicator& comm) {
    return comm.Barrier();
  }
};

TEST_P(CommunicatorFailureTest, AnotherOperationIsNamed) {
  ExpectMismatch(Gather(DType::kF32, 7), "AllGather of 7 f32", Barrier,
                 "Barrier");
  ExpectMismatch(Barrier, "Barrier", Gather(DType::kF32, 100'000),
                 "AllGather of 100000 f32");
}

TEST_P(CommunicatorFailureTest, AnotherSizeIsNamed) {
  ExpectMismatch(Gather(DType::kF32, 5), "AllGather of 5 f32",
                 Gather(DType::kF32, 6), "AllGather of 6 f32");
  ExpectMismatch(Reduce(ReduceOp::kSum, 2), "AllReduce(sum) of 2 f32",
                 Reduce(ReduceOp::kSum, 40'000), "AllReduce(sum) of 40000 f32");
}

TEST_P(CommunicatorFailureTest, AnotherTypeIsNamed) {
  ExpectMismatch(Gather(DType::kF32, 5), "AllGather of 5 f32",
                 Gather(DType::kI32, 5), "AllGather of 5 i32");
}

TEST_P(CommunicatorFailureTest, AnotherReductionIsNamed) {
  ExpectMismatch(Reduce(ReduceOp::kMax, 1), "AllReduce(max) of 1 f32",
                 Reduce(ReduceOp::kMin, 1), "AllReduce(min) of 1 f32");
}

TEST_P(CommunicatorFailureTest, AnotherRootIsNamed) {
  ExpectMismatch(BroadcastFrom(0), "Broadcast of 3 bf16 from rank 0",
                 BroadcastFrom(1), "Broadcast of 3 bf16 from rank 1");
}

TEST_P(CommunicatorFailureTest, RowsThatDoNotMatchAreNamed) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm, int last) {
    // All send 2 rows to each, but the last one expects 3 from rank 0.
    std::vector<std::int64_t> sent(static_cast<std::size_t>(comm.size()), 2);
    std::vector<std::int64_t> received = sent;
    received[0] += comm.rank() == last ? 1 : 0;
    const std::int64_t rows =
        std::accumulate(received.begin(), received.end(), std::int64_t{0});
    Tensor receive = Tensor::Zeros(ctx, DType::kF32, {rows, 4});
    const absl::Status status = comm.AllToAll(
        ctx,
        Tensor::Zeros(ctx, DType::kF32, {2 * std::int64_t{comm.size()}, 4}),
        sent, received, &receive);
    ExpectPoisoned(
        comm, status, absl::StatusCode::kInvalidArgument,
        absl::StrCat("rank 0 calls AllToAll of rows of 4 f32 and sends 2 of "
                     "them to rank ",
                     last, ", but rank ", last, " expects 3"));
  });
}

TEST_P(CommunicatorFailureTest, GroupsThatDoNotMatchAreNamed) {
  ForAllRanks([](const ExecContext&, Communicator& comm, int last) {
    std::vector<int> ranks = {0, last};
    if (comm.rank() != 0) {
      ranks = {comm.rank()};
    }
    const absl::Status status = comm.Split(ranks).status();
    ExpectPoisoned(comm, status, absl::StatusCode::kInvalidArgument,
                   absl::StrCat("rank 0 calls Split into a group of ranks 0, ",
                                last, ", but rank ", last,
                                " calls Split into a group of ranks ", last));
  });
}

TEST_P(CommunicatorFailureTest, RankThatEndsEarlyIsNamed) {
  ForAllRanks([](const ExecContext&, Communicator& comm, int last) {
    if (comm.rank() != last) {
      ExpectPoisoned(comm, comm.Barrier(), absl::StatusCode::kInvalidArgument,
                     absl::StrCat("calls Barrier, but rank ", last,
                                  " calls nothing more"));
    }
  });
}

TEST_P(CommunicatorFailureTest, RankThatDoesNotComeIsNamed) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm, int last) {
    ASSERT_OK(comm.Barrier());
    const std::string expected = absl::StrCat(
        "rank ", last, " did not come to AllGather of 3 f32 within 0.3 s");
    comm.set_timeout(std::chrono::milliseconds(300));
    absl::Status status;
    if (comm.rank() == last) {  // comes when the others have gone
      for (status = comm.Poll(); status.ok(); status = comm.Poll()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } else {
      status = Gather(DType::kF32, 3)(ctx, comm);
    }
    ExpectPoisoned(comm, status, absl::StatusCode::kUnavailable, expected);
  });
}

TEST_P(CommunicatorFailureTest, AbortReachesRanksThatWait) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm, int last) {
    absl::Status status;
    if (comm.rank() == last) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      comm.Abort("the disk is full");
      status = comm.Poll();
    } else {
      status = Reduce(ReduceOp::kSum, 50'000)(ctx, comm);
    }
    ExpectPoisoned(comm, status, absl::StatusCode::kUnavailable,
                   absl::StrCat("rank ", last, " gave up: the disk is full"));
  });
}

TEST_P(CommunicatorFailureTest, AbortReachesRanksThatCallLater) {
  ForAllRanks([](const ExecContext& ctx, Communicator& comm, int last) {
    if (comm.rank() == last) {
      comm.Abort("enough");
      comm.Abort("only the first reason counts");
    } else {
      while (comm.Poll().ok()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    ExpectPoisoned(comm, Gather(DType::kBF16, 1)(ctx, comm),
                   absl::StatusCode::kUnavailable,
                   absl::StrCat("rank ", last, " gave up: enough"));
  });
}

inline void AbortSoonOnRank0(Communicator* comm) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (comm->rank() == 0) {
    comm->Abort("stuck");
  }
}

TEST_P(CommunicatorFailureTest, AnotherThreadMayAbortAPendingCall) {
  ForAllRanks([](const ExecContext&, Communicator& comm, int last) {
    absl::Status status;
    if (comm.rank() == last) {  // never calls, but hears of it
      for (status = comm.Poll(); status.ok(); status = comm.Poll()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } else {
      std::thread watchdog(AbortSoonOnRank0, &comm);
      status = comm.Barrier();
      watchdog.join();
    }
    ExpectPoisoned(comm, status, absl::StatusCode::kUnavailable,
                   "rank 0 gave up: stuck");
  });
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DIST_COMMUNICATOR_FAILURES_H_
