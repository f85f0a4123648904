#include "trainer/step_costs.h"

#include <algorithm>
#include <utility>

#include "dist/agree.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

StepMeter::StepMeter(const ExecContext& ctx, Communicator& ranks,
                     std::vector<NamedGroup> axes)
    : ctx_(ctx), ranks_(ranks), axes_(std::move(axes)) {}

void StepMeter::Begin() {
  before_.clear();
  for (const NamedGroup& axis : axes_) {
    before_.push_back(axis.group->stats().total());
  }
  start_ = SteadySeconds();
}

absl::StatusOr<StepCosts> StepMeter::End() {
  double work = SteadySeconds() - start_;
  std::vector<double> mine;
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    const CommStats::Entry now = axes_[i].group->stats().total();
    const double seconds = now.seconds - before_[i].seconds;
    work -= seconds;
    mine.push_back(seconds);
    mine.push_back(static_cast<double>(now.bytes_sent - before_[i].bytes_sent));
  }
  mine.push_back(work);
  mine.push_back(static_cast<double>(ctx_.allocator.usage().peak));
  ASSIGN_OR_RETURN(const std::vector<std::vector<double>> all,
                   GatherNumbers(ctx_, ranks_, mine));
  StepCosts costs;
  for (const NamedGroup& axis : axes_) {
    costs.axes.push_back({axis.name});
  }
  const double share = 1.0 / ranks_.size();
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::vector<double>& one = all[rank];
    for (std::size_t i = 0; i < axes_.size(); ++i) {
      costs.axes[i].seconds += share * one[2 * i];
      costs.axes[i].bytes_sent += static_cast<std::int64_t>(one[2 * i + 1]);
    }
    const double worked = one[2 * axes_.size()];
    costs.work_seconds += share * worked;
    if (worked > costs.slowest_work_seconds) {
      costs.slowest_work_seconds = worked;
      costs.slowest_rank = static_cast<int>(rank);
    }
    costs.peak_bytes =
        std::max(costs.peak_bytes, static_cast<std::int64_t>(one.back()));
  }
  return costs;
}

}  // namespace rtpurbo
