// Which query heads retrieve over a long distance, and which stay local.

#ifndef RTPURBO_MODEL_HEAD_MAP_H_
#define RTPURBO_MODEL_HEAD_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/model_config.h"

namespace rtpurbo {

struct HeadMap {
  std::string method;  // "needle", "effect", ... : how the scores were found
  double share = 0;    // of all query heads that retrieve
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  std::string model_fingerprint;
  std::int64_t documents = 0;  // that the scores are means over
  struct Layer {
    std::vector<bool> retrieval_H;
    std::vector<float> score_H;  // empty if unknown
  };
  std::vector<Layer> layers;

  bool retrieves(std::int64_t layer, std::int64_t head) const {
    return layers[static_cast<std::size_t>(layer)]
        .retrieval_H[static_cast<std::size_t>(head)];
  }
  std::int64_t num_retrieval() const;
  // Query heads of one layer that retrieve, ascending: its slots.
  std::vector<std::int32_t> RetrievalHeads(std::int64_t layer) const;
};

// All query heads dense, or none.
HeadMap DenseMap(const ModelConfig& config);
HeadMap LocalMap(const ModelConfig& config);
// Positions of `score` from the best; of equal scores the earlier first.
std::vector<std::size_t> RankScores(const std::vector<float>& score);
// round(share * heads), at least one: how many query heads retrieve.
std::int64_t NumRetrieval(const ModelConfig& config, double share);
// The NumRetrieval() best of all layers ranked together; of equal scores the
// earlier head. `score` holds layer * H + head.
HeadMap MapFromScores(const ModelConfig& config, double share,
                      const std::vector<float>& score);
// As many heads as `map` has, drawn from those that it leaves local. With
// `per_layer`, as many in each layer as `map` has there, where the layer has
// enough others; what is missing is drawn from the other layers.
HeadMap RandomMap(const HeadMap& map, std::uint64_t seed, bool per_layer);

// The text of a heads.*.textproto file, and back. DataLoss names `file`, and
// the line where the text is malformed.
std::string ToText(const HeadMap& map);
absl::StatusOr<HeadMap> HeadMapFromText(absl::string_view text,
                                        absl::string_view file);
// FailedPrecondition if the map has other layers or heads than the model.
absl::Status CheckFits(const ModelConfig& config, const HeadMap& map,
                       absl::string_view file);
// Maps made elsewhere: the `headwise_config` object that an open serving engine
// reads ("0".."L-1": 0/1 for each query head), or a pattern file of
// DuoAttention (a line of gate values for each layer, one for each key/value
// head; those of at least `threshold` retrieve).
// DataLoss if the JSON is damaged, FailedPrecondition for a map that is
// malformed or of another model; both name `file`.
absl::StatusOr<HeadMap> HeadMapFromHeadwise(const ModelConfig& config,
                                            absl::string_view json,
                                            absl::string_view file);
absl::StatusOr<HeadMap> HeadMapFromDuoAttention(const ModelConfig& config,
                                                absl::string_view text,
                                                double threshold,
                                                absl::string_view file);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_HEAD_MAP_H_
