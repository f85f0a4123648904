// projections.safetensors: the indexer of a converted model, with what decoding
// as it was trained takes.
//
// Tensors, for each layer l with S retrieval heads, slots ascending by head:
//   layers.<l>.index_q, layers.<l>.index_k   [S, R, C] f32
// so that, with queries and keys before rotation,
//   score(m, n) = (index_q[s] q_h(m)) . (index_k[s] k_g(h)(n)) / sqrt(C).
// Metadata, all text:
//   format, version     "rtpurbo projections", "1"
//   width               R
//   layers.<l>.heads    the query heads of the slots, "1,6"
//   window, sinks       of local heads
//   dense_below         up to this many tokens every head is dense
//   rule, top_p, top_k  "top_p" or "top_k", and the value of each
//   granularity, block  "block" or "token" (then block is 1), keys a block
//   order               "mass" or "maximum"
//   forced_sinks, recent    keys that are always selected
//   model_fingerprint   of the model that they were trained for; may be ""

#ifndef RTPURBO_TRAINER_PROJECTIONS_FILE_H_
#define RTPURBO_TRAINER_PROJECTIONS_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "model/sparse_mode.h"

namespace rtpurbo {

inline constexpr char kProjectionsFile[] = "projections.safetensors";

// Writes kProjectionsFile in `folder`; an old one is replaced in one step. The
// fingerprint is that of mode.map. The same mode gives the same bytes.
// REQUIRES: mode.projections is not null and is of mode.map.
absl::Status WriteProjections(const ExecContext& ctx, FileSystem& files,
                              const std::string& folder,
                              const SparseMode& mode);

// The mode of a model with this head map whose projections are in `folder`.
// Returns NotFound if there is no file; DataLoss if it is damaged;
// FailedPrecondition if it is no such file, or of another model or map: the
// message names the file and the tensor or key. A map without fingerprint fits
// any, and takes the file's.
absl::StatusOr<SparseMode> ReadProjections(const ExecContext& ctx,
                                           FileSystem& files,
                                           const std::string& folder,
                                           const ModelConfig& config,
                                           const HeadMap& map);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PROJECTIONS_FILE_H_
