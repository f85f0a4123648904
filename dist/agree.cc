#include "dist/agree.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "dist/status_bytes.h"
#include "kernels/core/check.h"
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

// Takes the results of a round, the pieces from `first` on. In its last round a
// rank beyond `end` made one of them again.
absl::Status TakeRound(const OrderedWork& work, std::int64_t first,
                       std::int64_t end,
                       const std::vector<std::string>& results) {
  const std::int64_t count =
      std::min(end - first, static_cast<std::int64_t>(results.size()));
  for (std::int64_t k = 0; k < count; ++k) {
    RETURN_IF_ERROR(work.take(first + k, results[static_cast<std::size_t>(k)]));
  }
  return absl::OkStatus();
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

absl::StatusOr<std::vector<std::vector<double>>> GatherNumbers(
    const ExecContext& ctx, Communicator& comm,
    const std::vector<double>& mine) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(ctx, comm,
                               {reinterpret_cast<const char*>(mine.data()),
                                mine.size() * sizeof(double)}));
  std::vector<std::vector<double>> numbers(all.size());
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    numbers[rank].resize(all[rank].size() / sizeof(double));
    if (!numbers[rank].empty()) {
      std::memcpy(numbers[rank].data(), all[rank].data(), all[rank].size());
    }
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> GatherResults(
    const ExecContext& ctx, Communicator& comm,
    const absl::StatusOr<std::string>& mine) {
  const std::string status = internal::EncodeStatus(mine.status());
  ASSIGN_OR_RETURN(
      std::vector<std::string> all,
      GatherBytes(ctx, comm, mine.ok() ? absl::StrCat(status, *mine) : status));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    // Of a result only its code is a status.
    if (all[rank][0] != static_cast<char>(absl::StatusCode::kOk)) {
      const absl::Status error = internal::DecodeStatus(all[rank]);
      return comm.size() == 1
                 ? error
                 : absl::Status(error.code(), absl::StrCat("rank ", rank, ": ",
                                                           error.message()));
    }
    all[rank].erase(0, 1);
  }
  return all;
}

absl::Status AgreeOn(const ExecContext& ctx, Communicator& comm,
                     const absl::Status& mine) {
  return GatherResults(ctx, comm,
                       mine.ok() ? absl::StatusOr<std::string>("") : mine)
      .status();
}

absl::Status OnFirstRank(const ExecContext& ctx, Communicator& comm,
                         const std::function<absl::Status()>& fn) {
  return AgreeOn(ctx, comm, comm.rank() == 0 ? fn() : absl::OkStatus());
}

absl::StatusOr<std::string> FromFirstRank(
    const ExecContext& ctx, Communicator& comm,
    const std::function<absl::StatusOr<std::string>()>& fn) {
  ASSIGN_OR_RETURN(
      std::vector<std::string> all,
      GatherResults(ctx, comm,
                    comm.rank() == 0 ? fn() : absl::StatusOr<std::string>("")));
  return std::move(all[0]);
}

absl::StatusOr<std::int64_t> NumberFromFirstRank(
    const ExecContext& ctx, Communicator& comm,
    const std::function<absl::StatusOr<std::int64_t>()>& fn) {
  const auto as_text = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const std::int64_t number, fn());
    return absl::StrCat(number);
  };
  ASSIGN_OR_RETURN(const std::string text, FromFirstRank(ctx, comm, as_text));
  std::int64_t number = 0;
  CHECK(absl::SimpleAtoi(text, &number)) << text;
  return number;
}

absl::StatusOr<std::vector<double>> SumOverRanks(
    const ExecContext& ctx, Communicator& comm,
    const std::vector<double>& mine) {
  ASSIGN_OR_RETURN(const auto all, GatherNumbers(ctx, comm, mine));
  std::vector<double> sums(mine.size(), 0);
  for (const std::vector<double>& one : all) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i] += one[i];
    }
  }
  return sums;
}

absl::StatusOr<std::vector<std::vector<double>>> ShareOut(
    const ExecContext& ctx, Communicator& comm, const WorkTeam& team,
    std::int64_t n, const WorkPiece& piece) {
  std::vector<double> mine = {static_cast<double>(team.index)};
  for (std::int64_t first = 0; first < n; first += team.count) {
    const bool counts = first + team.index < n;
    const std::int64_t i = counts ? first + team.index : n - 1;
    ASSIGN_OR_RETURN(const std::vector<double> numbers, piece(i, counts));
    if (counts) {
      mine.insert(mine.end(), numbers.begin(), numbers.end());
    }
  }
  ASSIGN_OR_RETURN(const auto of_rank, GatherNumbers(ctx, comm, mine));
  const auto pieces_of = [&](int index) {
    return (n - index + team.count - 1) / team.count;
  };
  std::vector<std::vector<double>> pieces(static_cast<std::size_t>(n));
  for (const std::vector<double>& said : of_rank) {
    const int index = static_cast<int>(said[0]);
    const std::int64_t count = index < n ? pieces_of(index) : 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::size_t width =
          (said.size() - 1) / static_cast<std::size_t>(count);
      std::vector<double>& sum =
          pieces[static_cast<std::size_t>(index + k * team.count)];
      sum.resize(width);
      for (std::size_t j = 0; j < width; ++j) {
        sum[j] += said[1 + static_cast<std::size_t>(k) * width + j];
      }
    }
  }
  return pieces;
}

absl::Status ShareOutInOrder(const ExecContext& ctx, Communicator& comm,
                             std::int64_t begin, std::int64_t end,
                             const OrderedWork& work) {
  for (std::int64_t first = begin; first < end; first += comm.size()) {
    const std::int64_t mine = std::min(first + comm.rank(), end - 1);
    ASSIGN_OR_RETURN(const std::vector<std::string> results,
                     GatherResults(ctx, comm, work.make(mine)));
    RETURN_IF_ERROR(OnFirstRank(
        ctx, comm, [&] { return TakeRound(work, first, end, results); }));
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
