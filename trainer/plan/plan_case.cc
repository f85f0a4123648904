#include "trainer/plan/plan_case.h"

#include <algorithm>
#include <cmath>

#include "trainer/conversion/config_options.h"

namespace rtpurbo {
namespace {

void AddAlign(const configs::Align& align, PlanCase* one) {
  one->sequences = align.sequences_per_step();
  one->tokens = align.tokens();
  one->rows_from = align.rows_from();
  one->loss_rows = align.row_share() * (1 - align.rows_from()) *
                       static_cast<double>(align.tokens()) +
                   static_cast<double>(align.answer_rows());
}

void AddDistill(const configs::Distill& distill, PlanCase* one) {
  one->sequences = distill.sequences_per_step();
  one->tokens = distill.tokens();
  one->output_rows = std::min(distill.label_tokens(), distill.tokens());
  one->recompute = distill.recompute();
  one->trainable = TrainableRoles(distill);
}

}  // namespace

PlanCase CaseOf(const configs::Run& run, const ModelConfig& config,
                PlanStage stage, const MeshShape& mesh) {
  PlanCase one;
  one.config = config;
  one.stage = stage;
  one.mesh = mesh;
  one.dtype = run.model().compute_type() == configs::Model::BFLOAT16
                  ? DType::kBF16
                  : DType::kF32;
  if (stage == PlanStage::kAlign) {
    AddAlign(run.align(), &one);
  } else {
    AddDistill(run.distill(), &one);
  }
  one.retrieval_heads = std::max<std::int64_t>(
      1, std::llround(run.calibration().share() *
                      static_cast<double>(config.num_query_heads())));
  one.window = run.attention().window();
  one.sinks = run.attention().sinks();
  one.dense_below = run.attention().dense_below();
  const std::int64_t width = run.attention().projection_width();
  one.projection_width = std::min(
      config.head_width,
      width > 0 ? width : std::max<std::int64_t>(8, config.head_width / 8));
  one.max_positions = LongestSequence(run);
  return one;
}

}  // namespace rtpurbo
