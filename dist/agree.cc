#include "dist/agree.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kWord = sizeof(std::int32_t);

// Every rank's n words.
absl::StatusOr<std::vector<std::int32_t>> GatherWords(
    const ExecContext& ctx, Communicator& comm,
    const std::vector<std::int32_t>& mine) {
  const auto n = static_cast<std::int64_t>(mine.size());
  const Tensor shard = FromHost(ctx, mine, {n});
  Tensor full = Tensor::Empty(ctx, DType::kI32, {n * comm.size()});
  RETURN_IF_ERROR(comm.AllGather(ctx, shard, &full));
  return ToHost<std::int32_t>(ctx, full);
}

std::string Encode(const absl::Status& status) {
  if (status.ok()) {
    return "";
  }
  return absl::StrCat(std::string(1, static_cast<char>(status.code())),
                      status.message());
}

std::string ToBytes(const std::vector<double>& values) {
  std::string bytes(values.size() * sizeof(double), '\0');
  if (!values.empty()) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  return bytes;
}

std::vector<double> FromBytes(const std::string& bytes) {
  std::vector<double> values(bytes.size() / sizeof(double));
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> GatherBytes(const ExecContext& ctx,
                                                     Communicator& comm,
                                                     absl::string_view mine) {
  ASSIGN_OR_RETURN(
      const std::vector<std::int32_t> sizes,
      GatherWords(ctx, comm, {static_cast<std::int32_t>(mine.size())}));
  const std::int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  const auto words = static_cast<std::size_t>((longest + kWord - 1) / kWord);
  std::vector<std::int32_t> padded(words);
  if (!mine.empty()) {
    std::memcpy(padded.data(), mine.data(), mine.size());
  }
  ASSIGN_OR_RETURN(const std::vector<std::int32_t> all,
                   GatherWords(ctx, comm, padded));
  std::vector<std::string> bytes;
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    const auto size = static_cast<std::size_t>(sizes[rank]);
    std::string& one = bytes.emplace_back(size, '\0');
    if (size > 0) {
      std::memcpy(one.data(), &all[rank * words], size);
    }
  }
  return bytes;
}

absl::Status AgreeOn(const ExecContext& ctx, Communicator& comm,
                     const absl::Status& mine) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(ctx, comm, Encode(mine)));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) {
      const std::string message = all[rank].substr(1);
      return absl::Status(static_cast<absl::StatusCode>(all[rank][0]),
                          comm.size() == 1
                              ? message
                              : absl::StrCat("rank ", rank, ": ", message));
    }
  }
  return absl::OkStatus();
}

absl::Status OnFirstRank(const ExecContext& ctx, Communicator& comm,
                         const std::function<absl::Status()>& fn) {
  return AgreeOn(ctx, comm, comm.rank() == 0 ? fn() : absl::OkStatus());
}

absl::StatusOr<std::string> FromFirstRank(
    const ExecContext& ctx, Communicator& comm,
    const std::function<absl::StatusOr<std::string>()>& fn) {
  std::string mine;
  RETURN_IF_ERROR(OnFirstRank(ctx, comm, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(mine, fn());
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(std::vector<std::string> all, GatherBytes(ctx, comm, mine));
  return std::move(all[0]);
}

absl::StatusOr<double> SumOverRanks(const ExecContext& ctx, Communicator& comm,
                                    double mine) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(ctx, comm, ToBytes({mine})));
  double sum = 0;
  for (const std::string& bytes : all) {
    sum += FromBytes(bytes)[0];
  }
  return sum;
}

absl::StatusOr<std::vector<std::vector<double>>> ShareOut(
    const ExecContext& ctx, Communicator& comm, std::int64_t n,
    const WorkPiece& piece) {
  std::vector<double> mine;
  for (std::int64_t first = 0; first < n; first += comm.size()) {
    const bool counts = first + comm.rank() < n;
    const std::int64_t i = counts ? first + comm.rank() : n - 1;
    ASSIGN_OR_RETURN(const std::vector<double> numbers, piece(i, counts));
    if (counts) {
      mine.insert(mine.end(), numbers.begin(), numbers.end());
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(ctx, comm, ToBytes(mine)));
  std::vector<std::vector<double>> of_rank;
  for (const std::string& bytes : all) {
    of_rank.push_back(FromBytes(bytes));
  }
  // Rank 0 has one piece a round.
  const std::int64_t rounds = (n + comm.size() - 1) / comm.size();
  const std::int64_t width =
      n == 0 ? 0 : static_cast<std::int64_t>(of_rank[0].size()) / rounds;
  std::vector<std::vector<double>> pieces;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::vector<double>& from =
        of_rank[static_cast<std::size_t>(i % comm.size())];
    const auto begin = from.begin() + i / comm.size() * width;
    pieces.emplace_back(begin, begin + width);
  }
  return pieces;
}

}  // namespace rtpurbo
