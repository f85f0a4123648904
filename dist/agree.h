// What ranks tell each other between steps: a few bytes, an error, whether the
// one that writes could write, the numbers of work that they share.
//
// All are collective over the communicator: every rank calls them, in the same
// order, and every rank gets the same result. Each rank's bytes go to all
// others through host memory, so they are for small things.

#ifndef RTPURBO_DIST_AGREE_H_
#define RTPURBO_DIST_AGREE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dist/communicator.h"

namespace rtpurbo {

// The bytes that each rank brings, in rank order. Any lengths, also 0.
// REQUIRES: less than 2^31 bytes a rank.
absl::StatusOr<std::vector<std::string>> GatherBytes(const ExecContext& ctx,
                                                     Communicator& comm,
                                                     absl::string_view mine);

// The result that each rank brings, in rank order. If some have none, the error
// of the first of these, which the message names if there are other ranks.
absl::StatusOr<std::vector<std::string>> GatherResults(
    const ExecContext& ctx, Communicator& comm,
    const absl::StatusOr<std::string>& mine);

// OK if it is so on every rank. Else an error, as from GatherResults().
absl::Status AgreeOn(const ExecContext& ctx, Communicator& comm,
                     const absl::Status& mine);

// Rank 0 calls `fn`; all ranks wait for it and get its result.
absl::Status OnFirstRank(const ExecContext& ctx, Communicator& comm,
                         const std::function<absl::Status()>& fn);
absl::StatusOr<std::string> FromFirstRank(
    const ExecContext& ctx, Communicator& comm,
    const std::function<absl::StatusOr<std::string>()>& fn);

// The same for a number.
absl::StatusOr<std::int64_t> NumberFromFirstRank(
    const ExecContext& ctx, Communicator& comm,
    const std::function<absl::StatusOr<std::int64_t>()>& fn);

// The numbers that each rank brings, in rank order.
absl::StatusOr<std::vector<std::vector<double>>> GatherNumbers(
    const ExecContext& ctx, Communicator& comm,
    const std::vector<double>& mine);

// The sums over ranks of some numbers, added up in rank order.
// REQUIRES: all ranks bring as many.
absl::StatusOr<std::vector<double>> SumOverRanks(
    const ExecContext& ctx, Communicator& comm,
    const std::vector<double>& mine);

// One piece of shared work: its numbers. With `counts` false it is done again
// for the sake of the collectives inside, and the numbers are not used.
using WorkPiece = std::function<absl::StatusOr<std::vector<double>>(
    std::int64_t i, bool counts)>;

// The ranks of one index do the same pieces together; there are `count`
// indices, each with at least one rank.
struct WorkTeam {
  int index = 0;
  int count = 1;
};

// Does pieces 0 .. n - 1, piece i by team i % count, and returns the numbers of
// all, in order, on every rank: those of a piece are the sums over the ranks of
// its team, in rank order. Every rank does as many pieces as any other, so that
// pieces may have collectives inside: who has none left in the last round does
// the last one again, with `counts` false.
// An error is returned at once, without telling the others, who may wait inside
// a piece: the caller has to end this rank.
// REQUIRES: all pieces have as many numbers.
absl::StatusOr<std::vector<std::vector<double>>> ShareOut(
    const ExecContext& ctx, Communicator& comm, const WorkTeam& team,
    std::int64_t n, const WorkPiece& piece);

// Work whose results one rank writes down in order.
struct OrderedWork {
  // The result of piece i.
  std::function<absl::StatusOr<std::string>(std::int64_t i)> make;
  // On rank 0 alone, for each piece in turn.
  std::function<absl::Status(std::int64_t i, absl::string_view result)> take;
};

// Does pieces begin .. end - 1 in rounds of one a rank; rank 0 takes those of a
// round after it, so that an interruption loses a round at most. Every rank
// makes as many pieces as any other, as in ShareOut().
// All ranks get the first error of a piece, or of taking it.
absl::Status ShareOutInOrder(const ExecContext& ctx, Communicator& comm,
                             std::int64_t begin, std::int64_t end,
                             const OrderedWork& work);

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_AGREE_H_
