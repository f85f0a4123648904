#include "dist/agree.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/status_macros.h"
#include "tests/dist/ranks.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(AgreeTest, BytesOfAnyLengthComeInRankOrder) {
  RunCpuRanks(4, [](const ExecContext& ctx, Communicator& comm) {
    const std::vector<std::string> said = {"", "a", std::string("b\0c\xff", 4),
                                           "five5"};
    const std::string& mine = said[static_cast<std::size_t>(comm.rank())];
    for (int round = 0; round < 2; ++round) {
      ASSERT_OK_AND_ASSIGN(const std::vector<std::string> all,
                           GatherBytes(ctx, comm, mine));
      EXPECT_EQ(all, said);
    }
    ASSERT_OK_AND_ASSIGN(const std::vector<std::string> nothing,
                         GatherBytes(ctx, comm, ""));
    EXPECT_THAT(nothing, ElementsAre("", "", "", ""));
  });
}

TEST(AgreeTest, TheFirstErrorReachesEveryRankWithItsRank) {
  RunCpuRanks(4, [](const ExecContext& ctx, Communicator& comm) {
    EXPECT_OK(AgreeOn(ctx, comm, absl::OkStatus()));
    const absl::Status mine = comm.rank() < 2
                                  ? absl::OkStatus()
                                  : absl::DataLossError(absl::StrCat(
                                        "file ", comm.rank(), " is cut"));
    const absl::Status all = AgreeOn(ctx, comm, mine);
    EXPECT_EQ(all.code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(all.message(), "rank 2: file 2 is cut");
  });
}

TEST(AgreeTest, OneRankAloneIsNotNamed) {
  RunCpuRanks(1, [](const ExecContext& ctx, Communicator& comm) {
    EXPECT_EQ(AgreeOn(ctx, comm, absl::NotFoundError("no file")),
              absl::NotFoundError("no file"));
  });
}

TEST(AgreeTest, OnlyTheFirstRankActsAndAllKnowHowItWent) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    int calls = 0;
    EXPECT_OK(OnFirstRank(ctx, comm, [&] {
      ++calls;
      return absl::OkStatus();
    }));
    EXPECT_EQ(calls, comm.rank() == 0 ? 1 : 0);
    const absl::Status failed = OnFirstRank(
        ctx, comm, [] { return absl::UnavailableError("disk is full"); });
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(failed.message()), HasSubstr("disk is full"));
  });
}

TEST(AgreeTest, TheFirstRanksWordsReachAll) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    ASSERT_OK_AND_ASSIGN(const std::string word,
                         FromFirstRank(ctx, comm, [&comm] {
                           return absl::StrCat("rank ", comm.rank());
                         }));
    EXPECT_EQ(word, "rank 0");
    ASSERT_OK_AND_ASSIGN(const std::int64_t number,
                         NumberFromFirstRank(ctx, comm, [&comm] {
                           return std::int64_t{comm.rank()} - 5;
                         }));
    EXPECT_EQ(number, -5);
    EXPECT_EQ(FromFirstRank(ctx, comm,
                            []() -> absl::StatusOr<std::string> {
                              return absl::NotFoundError("none");
                            })
                  .status()
                  .code(),
              absl::StatusCode::kNotFound);
  });
}

// In rank order: 1 + 1e16 - 1e16 is 0 in doubles, another order gives 1.
TEST(AgreeTest, SumsAreTakenInRankOrder) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    const std::vector<double> said = {1, 1e16, -1e16};
    ASSERT_OK_AND_ASSIGN(
        const std::vector<double> sums,
        SumOverRanks(ctx, comm,
                     {said[static_cast<std::size_t>(comm.rank())], 1}));
    EXPECT_EQ(sums, (std::vector<double>{0, 3}));
  });
}

// Calls fn(ranks, pieces).
template <typename Fn>
void ForAllSizes(Fn fn) {
  for (const int size : {1, 2, 4}) {
    for (const std::int64_t n : {0, 1, 2, 5, 8}) {
      fn(size, n);
    }
  }
}

// Pieces with a collective inside, by teams of neighbours. Each rank of a team
// says its share: the others 1 each, the first one the rest.
void ExpectSharedOut(const ExecContext& ctx, Communicator& comm,
                     int ranks_a_team, std::int64_t n) {
  const WorkTeam team = {comm.rank() / ranks_a_team,
                         comm.size() / ranks_a_team};
  const bool first = comm.rank() % ranks_a_team == 0;
  std::vector<std::int64_t> done;
  const auto piece = [&](std::int64_t i,
                         bool counts) -> absl::StatusOr<std::vector<double>> {
    RETURN_IF_ERROR(comm.Barrier());
    if (counts) {
      done.push_back(i);
    }
    const double x = first ? static_cast<double>(i - ranks_a_team + 1) : 1.0;
    return std::vector<double>{x, counts ? -x : 1e9};
  };
  ASSERT_OK_AND_ASSIGN(const auto pieces, ShareOut(ctx, comm, team, n, piece));
  ASSERT_EQ(static_cast<std::int64_t>(pieces.size()), n);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<double>(i);
    EXPECT_THAT(pieces[static_cast<std::size_t>(i)], ElementsAre(x, -x));
  }
  for (const std::int64_t i : done) {
    EXPECT_EQ(i % team.count, team.index);
  }
}

// Nobody waits for ever, whatever the numbers, and each piece counts once.
TEST(AgreeTest, PiecesAreSharedOutAndComeBackInOrder) {
  ForAllSizes([](int size, std::int64_t n) {
    RunCpuRanks(size, [=](const ExecContext& ctx, Communicator& comm) {
      for (int ranks = 1; ranks <= size; ranks *= 2) {
        ExpectSharedOut(ctx, comm, ranks, n);
      }
    });
  });
}

// Pieces [begin, end) are made by all and taken, once and in order, by rank 0.
void ExpectTakenInOrder(const ExecContext& ctx, Communicator& comm,
                        std::int64_t begin, std::int64_t end) {
  std::int64_t num_made = 0;
  std::vector<std::string> taken;
  const OrderedWork work = {[&](std::int64_t i) -> absl::StatusOr<std::string> {
                              EXPECT_GE(i, begin);
                              EXPECT_LT(i, end);
                              ++num_made;
                              return absl::StrCat("result of ", i);
                            },
                            [&](std::int64_t i, absl::string_view result) {
                              EXPECT_EQ(result, absl::StrCat("result of ", i));
                              taken.emplace_back(result);
                              return absl::OkStatus();
                            }};
  ASSERT_OK(ShareOutInOrder(ctx, comm, begin, end, work));
  std::vector<std::string> expected;
  if (comm.rank() == 0) {
    for (std::int64_t i = begin; i < end; ++i) {
      expected.push_back(absl::StrCat("result of ", i));
    }
  }
  EXPECT_EQ(taken, expected);
  EXPECT_EQ(num_made, (end - begin + comm.size() - 1) / comm.size());
}

TEST(AgreeTest, OneRankTakesInOrderWhatAllMake) {
  ForAllSizes([](int size, std::int64_t n) {
    RunCpuRanks(size, [n](const ExecContext& ctx, Communicator& comm) {
      ExpectTakenInOrder(ctx, comm, 3, 3 + n);
    });
  });
}

// Work that fails to make one piece and to take another.
OrderedWork FailingWork(std::int64_t make_fails, std::int64_t take_fails) {
  const auto fails_at = [](std::int64_t i, std::int64_t k) {
    return k == i ? absl::NotFoundError(absl::StrCat("no ", i))
                  : absl::OkStatus();
  };
  return {[=](std::int64_t i) -> absl::StatusOr<std::string> {
            RETURN_IF_ERROR(fails_at(make_fails, i));
            return std::string();
          },
          [=](std::int64_t i, absl::string_view) {
            return fails_at(take_fails, i);
          }};
}

TEST(AgreeTest, ErrorsOfMakingAndTakingAreEveryRanks) {
  RunCpuRanks(3, [](const ExecContext& ctx, Communicator& comm) {
    EXPECT_THAT(
        ShareOutInOrder(ctx, comm, 0, 7, FailingWork(4, -1)),
        StatusIs(absl::StatusCode::kNotFound, HasSubstr("rank 1: no 4")));
    EXPECT_THAT(
        ShareOutInOrder(ctx, comm, 0, 7, FailingWork(-1, 5)),
        StatusIs(absl::StatusCode::kNotFound, HasSubstr("rank 0: no 5")));
  });
}

}  // namespace
}  // namespace rtpurbo::testing
