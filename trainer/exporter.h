// A converted model as a folder in Hugging Face's format, and back.
//
//   *.safetensors             the teacher's tensors: same names, shapes and
//                             types, in its order
//   config.json               the teacher's, with one more key:
//     "headwise_config": {"sink_token_num": S, "swa_token_num": W,
//                         "seqlen_threshold": dense_below + 1,
//                         "0": [0, 1, ...], ..., "L-1": [...]}
//                             a 0 or 1 for each query head, 1 = retrieval: what
//                             an open serving engine reads. From this many
//                             tokens on, local heads are windowed
//   projections.safetensors   the indexer (trainer/projections_file.h), if the
//                             model has one
//   tokenizer.json, ...       copied, where the teacher has them
// Programs that know none of this load it as an ordinary dense model.

#ifndef RTPURBO_TRAINER_EXPORTER_H_
#define RTPURBO_TRAINER_EXPORTER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "model/sparse_mode.h"
#include "model/transformer.h"

namespace rtpurbo {

struct ExportOptions {
  std::int64_t max_shard_bytes = 5'000'000'000;
};

// Writes `model` with `mode` to the folder `out`, which appears whole, in one
// step: everything is written to out.tmp, synced and renamed. An older export
// is replaced. Weights are rounded to the teacher's types; one that is what the
// teacher's rounds to in the model has the teacher's bits.
//   teacher: the folder that the model was loaded from.
// REQUIRES: mode is not DenseMode().
// Returns FailedPrecondition if `out` is something else than an older export,
// if the teacher's folder has other tensors than the model, if a weight is NaN
// or infinite, or if the weights are shared out over several ranks; else what
// the file system says. After an error `out` is as it was.
absl::Status ExportModel(FileSystem& files, const Transformer& model,
                         const SparseMode& mode, const std::string& teacher,
                         const std::string& out,
                         const ExportOptions& options = {});

struct ConvertedModel {
  std::unique_ptr<Transformer> model;
  SparseMode mode;
};

// Loads an exported folder. Without projections its retrieval heads are dense
// in decode, too. A folder without headwise_config is an ordinary model, whose
// mode is DenseMode().
// Returns what LoadTransformer() and ReadProjections() do; FailedPrecondition,
// naming file and key, for a headwise_config that is malformed or contradicts
// the projections.
absl::StatusOr<ConvertedModel> LoadConverted(
    const ExecContext& ctx, FileSystem& files, const std::string& folder,
    const Transformer::Options& options);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EXPORTER_H_
