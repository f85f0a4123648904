#include "model/index_projection.h"

#include "kernels/head_projection.h"

namespace rtpurbo {
namespace {

Tensor Project(const ExecContext& ctx, const Tensor& x_THC, const Tensor& w_SRC,
               const std::vector<std::int32_t>& head_S) {
  Tensor y_TSR = Tensor::Empty(ctx, DType::kF32,
                               {x_THC.dim(0), w_SRC.dim(0), w_SRC.dim(1)});
  kernels::HeadProjectionForward(ctx, x_THC, w_SRC, head_S, &y_TSR);
  return y_TSR;
}

}  // namespace

IndexProjections ZeroProjections(const ExecContext& ctx,
                                 const ModelConfig& config, const HeadMap& map,
                                 std::int64_t width) {
  const ExecContext tagged = ctx.Tagged("projections");
  IndexProjections projections;
  projections.width = width;
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    IndexProjections::Layer layer;
    layer.head_S = map.RetrievalHeads(l);
    for (const std::int32_t head : layer.head_S) {
      layer.kv_head_S.push_back(
          static_cast<std::int32_t>(config.kv_head(head)));
    }
    if (!layer.empty()) {
      const Shape shape = {static_cast<std::int64_t>(layer.head_S.size()),
                           width, config.head_width};
      layer.wq_SRC = Tensor::Zeros(tagged, DType::kF32, shape);
      layer.wk_SRC = Tensor::Zeros(tagged, DType::kF32, shape);
    }
    projections.layers.push_back(std::move(layer));
  }
  return projections;
}

Tensor ProjectQueries(const ExecContext& ctx,
                      const IndexProjections::Layer& layer,
                      const Tensor& q_pre_MHC) {
  return Project(ctx, q_pre_MHC, layer.wq_SRC, layer.head_S);
}

Tensor ProjectKeys(const ExecContext& ctx, const IndexProjections::Layer& layer,
                   const Tensor& k_pre_NGC) {
  return Project(ctx, k_pre_NGC, layer.wk_SRC, layer.kv_head_S);
}

}  // namespace rtpurbo
