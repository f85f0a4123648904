// What a small model attends sparsely: some heads, and projections for them.

#ifndef RTPURBO_TESTS_MODEL_SMALL_SPARSE_H_
#define RTPURBO_TESTS_MODEL_SMALL_SPARSE_H_

#include <cstdint>
#include <memory>

#include "model/head_map.h"
#include "model/index_projection.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {

inline constexpr std::int64_t kSmallWindow = 9;
inline constexpr std::int64_t kSmallSinks = 2;

// Heads 1 of layer 0 and 0, 3 of layer 1 of SmallConfig() retrieve.
inline HeadMap SomeHeads(const ModelConfig& config) {
  HeadMap map = LocalMap(config);
  map.window = kSmallWindow;
  map.sinks = kSmallSinks;
  map.layers[0].retrieval_H[1] = true;
  map.layers[1].retrieval_H[0] = true;
  map.layers[1].retrieval_H[3] = true;
  return map;
}

// That select differently for each head.
inline std::shared_ptr<IndexProjections> RandomProjections(
    const ExecContext& ctx, const ModelConfig& config, const HeadMap& map,
    std::int64_t width, unsigned seed) {
  auto projections = std::make_shared<IndexProjections>(
      ZeroProjections(ctx, config, map, width));
  for (IndexProjections::Layer& layer : projections->layers) {
    if (layer.empty()) {
      continue;
    }
    layer.wq_SRC = Random(ctx, DType::kF32, layer.wq_SRC.shape(), seed++);
    layer.wk_SRC = Random(ctx, DType::kF32, layer.wk_SRC.shape(), seed++);
  }
  return projections;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_MODEL_SMALL_SPARSE_H_
