#include "trainer/plan/plan_case.h"

#include <algorithm>

#include "model/head_map.h"
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
  one.dtype = ComputeTypeOf(run.model());
  if (stage == PlanStage::kAlign) {
    AddAlign(run.align(), &one);
  } else {
    AddDistill(run.distill(), &one);
  }
  one.retrieval_heads = NumRetrieval(config, run.calibration().share());
  one.window = run.attention().window();
  one.sinks = run.attention().sinks();
  one.dense_below = run.attention().dense_below();
  one.projection_width = ProjectionWidthOf(run.attention(), config);
  one.max_positions = LongestSequence(run);
  return one;
}

}  // namespace rtpurbo
