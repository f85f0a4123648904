// Fields of a run's configuration as the plain options of what they configure.

#ifndef RTPURBO_TRAINER_CONVERSION_CONFIG_OPTIONS_H_
#define RTPURBO_TRAINER_CONVERSION_CONFIG_OPTIONS_H_

#include <cstdint>
#include <set>
#include <vector>

#include "configs/schema/run.pb.h"
#include "data/document_stream_options.h"
#include "kernels/core/dtype.h"
#include "kernels/select_top_p.h"
#include "model/model_config.h"
#include "model/parameter_names.h"
#include "trainer/stages/projection_start.h"
#include "trainer/trainer.h"

namespace rtpurbo {

// Positions that a model of this run ever needs.
std::int64_t LongestSequence(const configs::Run& run);
DType ComputeTypeOf(const configs::Model& model);
// R, with the default filled in.
std::int64_t ProjectionWidthOf(const configs::Attention& attention,
                               const ModelConfig& config);
kernels::Selection SelectionOf(const configs::Attention& attention);

QuestionKind KindOf(configs::QuestionKind kind);
std::vector<QuestionKind> KindsOf(
    const google::protobuf::RepeatedField<int>& kinds);

// The stream field is not set.
DocumentStreamOptions AlignStreamOptions(const configs::Run& run);
DocumentStreamOptions DistillStreamOptions(const configs::Run& run);
// Of evaluation questions and random maps: changed by evaluation.seed alone.
std::uint64_t MeasureSeed(const configs::Run& run);

std::set<Role> TrainableRoles(const configs::Distill& distill);
ProjectionStart StartOf(const configs::Run& run, std::int64_t width);

// Without folder and config_text.
TrainOptions AlignTrainOptions(const configs::Run& run);
TrainOptions DistillTrainOptions(const configs::Run& run);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_CONFIG_OPTIONS_H_
