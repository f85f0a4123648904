#include "model/expert_exchange.h"

#include <numeric>

namespace rtpurbo {
namespace {

// How many rows go to each rank, by the experts that it has.
std::vector<std::int64_t> RowsByRank(const std::vector<std::int32_t>& offset_E,
                                     int num_ranks) {
  const std::size_t experts =
      (offset_E.size() - 1) / static_cast<std::size_t>(num_ranks);
  std::vector<std::int64_t> rows;
  for (std::size_t e = 0; e + 1 < offset_E.size(); e += experts) {
    rows.push_back(offset_E[e + experts] - offset_E[e]);
  }
  return rows;
}

}  // namespace

ExpertExchange MakeExpertExchange(const std::vector<std::int32_t>& source_N,
                                  const std::vector<std::int32_t>& offset_E,
                                  const std::vector<std::int32_t>& count_PE,
                                  std::int64_t num_choices, int num_ranks) {
  const auto P = static_cast<std::size_t>(num_ranks);
  const std::size_t E = count_PE.size() / P;  // of this rank
  ExpertExchange exchange;
  ops::RowTrade& there = exchange.there;
  for (const std::int32_t choice : source_N) {
    there.sent.push_back(choice / static_cast<std::int32_t>(num_choices));
  }
  there.send_rows = RowsByRank(offset_E, num_ranks);

  // Where the rows for expert e from rank p begin as they come, rank by rank,
  // and as they are wanted, expert by expert.
  std::vector<std::int32_t> come(P * E);
  std::exclusive_scan(count_PE.begin(), count_PE.end(), come.begin(), 0);
  std::vector<std::int32_t> order;
  std::vector<std::int32_t> wanted(P * E);
  for (std::size_t e = 0; e < E; ++e) {
    exchange.offset_E.push_back(static_cast<std::int32_t>(order.size()));
    for (std::size_t p = 0; p < P; ++p) {
      const std::size_t i = p * E + e;
      wanted[i] = static_cast<std::int32_t>(order.size());
      for (std::int32_t row = 0; row < count_PE[i]; ++row) {
        order.push_back(come[i] + row);
      }
    }
  }
  exchange.offset_E.push_back(static_cast<std::int32_t>(order.size()));

  ops::RowTrade& back = exchange.back;
  for (std::size_t p = 0; p < P; ++p) {
    const std::size_t before = back.sent.size();
    for (std::size_t i = p * E; i < (p + 1) * E; ++i) {
      for (std::int32_t row = 0; row < count_PE[i]; ++row) {
        back.sent.push_back(wanted[i] + row);
      }
    }
    there.receive_rows.push_back(
        static_cast<std::int64_t>(back.sent.size() - before));
  }
  there.results = {std::move(order)};
  back.send_rows = there.receive_rows;
  back.receive_rows = there.send_rows;
  std::vector<std::int32_t> all(source_N.size());
  std::iota(all.begin(), all.end(), 0);
  back.results = {std::move(all)};
  return exchange;
}

Tensor TradeExpertCounts(const ExecContext& ctx, Communicator& comm,
                         const Tensor& offset_E) {
  const auto offset = ToHost<std::int32_t>(ctx, offset_E);
  std::vector<std::int32_t> count(offset.size());
  std::adjacent_difference(offset.begin(), offset.end(), count.begin());
  count.erase(count.begin());
  const Shape shape = {comm.size(),
                       static_cast<std::int64_t>(count.size()) / comm.size()};
  const std::vector<std::int64_t> one(static_cast<std::size_t>(comm.size()), 1);
  Tensor received = Tensor::Empty(ctx, DType::kI32, shape);
  const absl::Status status =
      comm.AllToAll(ctx, FromHost(ctx, count, shape), one, one, &received);
  return status.ok() ? received : Tensor::Zeros(ctx, DType::kI32, shape);
}

}  // namespace rtpurbo
