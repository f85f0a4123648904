#include "kernels/cpu/attention_mass_fast.h"

#include <algorithm>
#include <array>
#include <numbers>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/cpu/attention_tile_kernels.h"
#include "kernels/cpu/attention_tiles.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kLog2E = std::numbers::log2e_v<float>;

// The mass of up to kPanelRows rows of head h, from row `first`.
template <typename T>
double PanelMass(const AttentionMassArgs<T>& in, const PackedTiles& k_CN,
                 std::int64_t h, std::int64_t first) {
  const AttentionView& view = in.view;
  Panel panel;
  for (std::int64_t t = first; t < std::min(in.post.end, first + kPanelRows);
       ++t) {
    panel.Add(h, t,
              {.begin = in.pre.begin,
               .sink_end = in.pre.begin,
               .window_begin = in.pre.begin,
               .end = in.pre.end});
  }
  const std::int64_t width = PadTo(TileLanes(), view.C);
  std::vector<float> q_PC(static_cast<std::size_t>(kPanelRows * width));
  std::array<float, kPanelRows> lse_P = {};
  std::array<float, kPanelRows* kMaxLanes> mass_PL = {};
  PackRows(view, panel, in.q_THC, view.scale * kLog2E, width, q_PC.data());
  for (std::size_t r = 0; r < static_cast<std::size_t>(panel.num_rows); ++r) {
    lse_P[r] = kLog2E * in.lse_HT[h * view.T + panel.token[r]];
  }
  panel.ForEachTile([&](const TileSeen& seen) {
    MassTile({.seen = seen,
              .num_strips = panel.num_strips(),
              .C = view.C,
              .q_PC = q_PC.data(),
              .lse_P = lse_P.data(),
              .k_CN = k_CN.tile(view.kv_head_H[h], seen.tile),
              .mass_PL = mass_PL.data()});
  });
  double mass = 0;
  for (int r = 0; r < panel.num_rows; ++r) {
    mass += static_cast<double>(SumLanes(mass_PL.data() + r * kMaxLanes));
  }
  return mass;
}

}  // namespace

template <typename T>
void AttentionMassFast(const ExecContext& ctx, const AttentionMassArgs<T>& in,
                       float* mass_H) {
  const AttentionView& view = in.view;
  const std::int64_t tiles = NumTiles(view.N);
  std::vector<char> visited(static_cast<std::size_t>(view.G * tiles));
  for (std::int64_t i = 0; i < view.G * tiles; ++i) {
    const std::int64_t first = i % tiles * kTileKeys;
    visited[static_cast<std::size_t>(i)] =
        first < in.pre.end && in.pre.begin < first + kTileKeys ? 1 : 0;
  }
  const PackedTiles k_CN(
      ctx, {.N = view.N, .G = view.G, .C = view.C, .transposed = true},
      in.k_NGC, visited);
  const std::int64_t num_rows = in.post.end - in.post.begin;
  const std::int64_t panels = (num_rows + kPanelRows - 1) / kPanelRows;
  std::vector<double> mass(static_cast<std::size_t>(view.H * panels));
  ParallelFor(view.H * panels, 1, [&](std::int64_t i, std::int64_t) {
    mass[static_cast<std::size_t>(i)] = PanelMass(
        in, k_CN, i / panels, in.post.begin + i % panels * kPanelRows);
  });
  for (std::int64_t h = 0; h < view.H; ++h) {
    double sum = 0;
    for (std::int64_t p = 0; p < panels; ++p) {
      sum += mass[static_cast<std::size_t>(h * panels + p)];
    }
    mass_H[h] = static_cast<float>(sum / static_cast<double>(num_rows));
  }
}

template void AttentionMassFast<float>(const ExecContext&,
                                       const AttentionMassArgs<float>&, float*);
template void AttentionMassFast<BFloat16>(const ExecContext&,
                                          const AttentionMassArgs<BFloat16>&,
                                          float*);

}  // namespace rtpurbo::kernels::cpu
