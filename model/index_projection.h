// The low-width query and key projections by which retrieval heads find keys.
//
// For each retrieval query head h of a layer, in ascending order, slot s:
//   score(m, n) = (Wq_s q_pre_h(m)) . (Wk_s k_pre_g(h)(n)) / sqrt(C)
// without rotation (arXiv 2605.16928, indexer; the factor 1/sqrt(C), which
// makes the start match the true logits, is ours).

#ifndef RTPURBO_MODEL_INDEX_PROJECTION_H_
#define RTPURBO_MODEL_INDEX_PROJECTION_H_

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"
#include "model/head_map.h"
#include "model/model_config.h"

namespace rtpurbo {

struct IndexProjections {
  struct Layer {
    std::vector<std::int32_t> head_S;     // query head of each slot
    std::vector<std::int32_t> kv_head_S;  // its key/value head
    // [S, R, C] f32; undefined in a layer without retrieval heads.
    Tensor wq_SRC;
    Tensor wk_SRC;
    bool empty() const { return head_S.empty(); }
  };
  std::int64_t width = 0;  // R
  std::vector<Layer> layers;
};

// Zero projections of the map's retrieval heads.
IndexProjections ZeroProjections(const ExecContext& ctx,
                                 const ModelConfig& config, const HeadMap& map,
                                 std::int64_t width);

// [M, S, R] f32: the queries q_pre_MHC of some rows, projected.
Tensor ProjectQueries(const ExecContext& ctx,
                      const IndexProjections::Layer& layer,
                      const Tensor& q_pre_MHC);
// [N, S, R] f32.
Tensor ProjectKeys(const ExecContext& ctx, const IndexProjections::Layer& layer,
                   const Tensor& k_pre_NGC);

}  // namespace rtpurbo

#endif  // RTPURBO_MODEL_INDEX_PROJECTION_H_
