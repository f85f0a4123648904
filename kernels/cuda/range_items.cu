#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/range_items.cuh"

namespace rtpurbo::kernels::cuda {
namespace {

// Positions and windows are added to each other in 32 bits.
constexpr std::int64_t kMaxPosition = std::int64_t{1} << 30;

}  // namespace

bool IsHopper() {
  static const int major = [] {
    int device = 0;
    int value = 0;
    CHECK(cudaGetDevice(&device) == cudaSuccess);
    CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor,
                                 device) == cudaSuccess);
    return value;
  }();
  return major == 9;
}

bool HasRangeAttentionSm90(const RangeShape& shape) {
  const bool width = shape.C == 32 || shape.C == 64 || shape.C == 128;
  return IsHopper() && width && shape.H <= kMaxAttentionHeads &&
         shape.query_begin + shape.T <= kMaxPosition;
}

int NumMultiprocessors() {
  int device = 0;
  int count = 0;
  CHECK(cudaGetDevice(&device) == cudaSuccess);
  CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount,
                               device) == cudaSuccess);
  return count;
}

RangeTable MakeRangeTable(const RangeShape& shape) {
  RangeTable table = {};
  const std::int64_t keys = shape.query_begin + shape.T;
  std::vector<std::int16_t> order;
  for (int h = 0; h < shape.H; ++h) {
    const std::int64_t window = std::min(shape.window_H[h], keys);
    CHECK(window >= 0) << "window of head " << h;
    table.window[h] = static_cast<std::int32_t>(window);
    table.kv_head[h] = static_cast<std::int16_t>(shape.kv_head_H[h]);
    table.num_dense += window >= keys ? 1 : 0;
    const bool selects = shape.slot_H != nullptr && shape.slot_H[h] >= 0;
    table.row_limit[h] = static_cast<std::int32_t>(
        shape.T - (selects ? shape.selected_rows : 0));
    table.slot[h] =
        selects ? static_cast<std::int16_t>(shape.slot_H[h]) : std::int16_t{-1};
    order.push_back(static_cast<std::int16_t>(h));
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    const auto rank = [&](int h) {
      return std::tuple(table.window[h] < keys, table.kv_head[h], h);
    };
    return rank(a) < rank(b);
  });
  std::copy(order.begin(), order.end(), table.order);
  table.document = shape.document_N;
  table.selected = shape.selected_SMB;
  table.selected_rows = static_cast<int>(shape.selected_rows);
  table.words = static_cast<int>(shape.words);
  table.block = static_cast<int>(shape.block);
  table.scale = shape.scale;
  table.num_heads = shape.H;
  table.num_rows = static_cast<int>(shape.T);
  table.query_begin = static_cast<int>(shape.query_begin);
  table.sinks = static_cast<int>(std::min(shape.sinks, keys));
  const std::int64_t items = (shape.T + kTile - 1) / kTile * shape.H;
  CHECK(items <= std::numeric_limits<int>::max() / 2) << items << " items";
  table.num_items = static_cast<int>(items);
  return table;
}

}  // namespace rtpurbo::kernels::cuda
