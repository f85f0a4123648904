#include "kernels/cpu/range_attention_fast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/core/tensor.h"
#include "kernels/cpu/attention_tile_kernels.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/tile_sums.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kLog2E = std::numbers::log2e_v<float>;
constexpr float kLn2 = std::numbers::ln2_v<float>;

TileLayout LayoutOf(const AttentionView& view, bool transposed) {
  return {.N = view.N, .G = view.G, .C = view.C, .transposed = transposed};
}

// Divides the sums of a row by those of its weights.
template <typename T>
void FinishRow(const float* o_C, const float* l_L, float m, std::int64_t C,
               T* to_C, float* lse) {
  const float l = SumLanes(l_L);
  const float factor = l == 0 ? 0 : 1 / l;
  for (std::int64_t c = 0; c < C; ++c) {
    to_C[c] = static_cast<T>(o_C[c] * factor);
  }
  *lse = l == 0 ? -std::numeric_limits<float>::infinity()
                : (m + std::log2(l)) * kLn2;
}

// The panels from the first position to the last: work[i] is panel n - 1 - i.
std::vector<PanelWork> WorkOf(const AttentionPlan& plan) {
  std::vector<PanelWork> work;
  for (std::int64_t i = plan.num_panels() - 1; i >= 0; --i) {
    PanelWork panel = {.output = plan.kv_head(i)};
    plan.panel(i).ForEachTile([&](const TileSeen& seen) {
      ++panel.cost;
      panel.tiles_end = seen.tile + 1;
    });
    work.push_back(panel);
  }
  return work;
}

// Rounds the sums [64 keys][dk, then dv] of all tiles; null is not wanted.
template <typename T>
void StoreKeyGradients(const AttentionView& view, const TileSums& sums,
                       T* dk_NGC, T* dv_NGC) {
  const std::int64_t tiles = NumTiles(view.N);
  const std::int64_t width = LayoutOf(view, false).width();
  ParallelFor(view.G * tiles, 1, [&](std::int64_t i, std::int64_t) {
    const std::int64_t g = i / tiles;
    const std::int64_t first = i % tiles * kTileKeys;
    const std::vector<float> total = sums.Total(g, i % tiles);
    for (std::int64_t n = 0; n < std::min(kTileKeys, view.N - first); ++n) {
      const std::int64_t row = ((first + n) * view.G + g) * view.C;
      const float* dk_C = total.data() + n * width;
      const float* dv_C = dk_C + kTileKeys * width;
      for (std::int64_t c = 0; c < view.C && dk_NGC != nullptr; ++c) {
        dk_NGC[row + c] = static_cast<T>(kLn2 * dk_C[c]);  // of log2(e) q
      }
      for (std::int64_t c = 0; c < view.C && dv_NGC != nullptr; ++c) {
        dv_NGC[row + c] = static_cast<T>(dv_C[c]);
      }
    }
  });
}

// Keys and values packed for a backward pass.
struct BackwardKeys {
  PackedTiles k_CN;
  PackedTiles k_NC;
  PackedTiles v_CN;
};

// Where the gradients of keys go: tiles of dk and, behind them, of dv.
struct KeyGradients {
  TileSums& sums;
  std::size_t piece;
  bool wants_dk;
  bool wants_dv;

  void Find(std::int64_t tile, std::int64_t tile_size,
            BackwardTileArgs* args) const {
    float* dkv = wants_dk || wants_dv ? sums.tile(piece, tile) : nullptr;
    args->dk_NC = wants_dk ? dkv : nullptr;
    args->dv_NC = wants_dv ? dkv + tile_size : nullptr;
  }
};

// The rows of one panel in a backward pass, packed: Begin(), then AddTiles().
template <typename T>
class BackwardPanel {
 public:
  BackwardPanel(const RangeAttentionArgs<T>& in,
                const RangeAttentionSaved<T>& saved, const BackwardKeys& keys)
      : in_(in),
        saved_(saved),
        keys_(keys),
        width_(LayoutOf(in.view, false).width()),
        q_PC_(static_cast<std::size_t>(kPanelRows * width_)),
        do_PC_(q_PC_.size()),
        dq_PC_(q_PC_.size()) {}

  void Begin(const Panel& panel);
  // Adds to dk and dv of key/value head g, and overwrites the rows' dq.
  void AddTiles(std::int64_t g, const KeyGradients& gradients, T* dq_THC);

 private:
  void StoreQueryGradient(T* dq_THC) const;
  std::int64_t row(int r) const {
    const auto at = static_cast<std::size_t>(r);
    return in_.view.row(panel_.head[at], panel_.token[at]);
  }

  const RangeAttentionArgs<T>& in_;
  const RangeAttentionSaved<T>& saved_;
  const BackwardKeys& keys_;
  std::int64_t width_;
  Panel panel_;
  std::vector<float> q_PC_;
  std::vector<float> do_PC_;
  std::vector<float> dq_PC_;
  std::array<float, kPanelRows> lse_P_ = {};
  std::array<float, kPanelRows> do_o_P_ = {};
};

template <typename T>
void BackwardPanel<T>::Begin(const Panel& panel) {
  const AttentionView& view = in_.view;
  panel_ = panel;
  PackRows(view, panel, in_.q_THC, view.scale * kLog2E, width_, q_PC_.data());
  PackRows(view, panel, saved_.do_THC, 1, width_, do_PC_.data());
  std::fill(dq_PC_.begin(), dq_PC_.end(), 0.0F);
  lse_P_.fill(0);
  do_o_P_.fill(0);
  for (int r = 0; r < panel.num_rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    lse_P_[at] =
        kLog2E * saved_.lse_HT[panel.head[at] * view.T + panel.token[at]];
    do_o_P_[at] = DotC(saved_.do_THC + row(r), saved_.o_THC + row(r), view.C);
  }
}

template <typename T>
void BackwardPanel<T>::AddTiles(std::int64_t g, const KeyGradients& gradients,
                                T* dq_THC) {
  panel_.ForEachTile([&](const TileSeen& seen) {
    BackwardTileArgs args = {.seen = seen,
                             .num_strips = panel_.num_strips(),
                             .C = in_.view.C,
                             .q_PC = q_PC_.data(),
                             .do_PC = do_PC_.data(),
                             .lse_P = lse_P_.data(),
                             .do_o_P = do_o_P_.data(),
                             .k_CN = keys_.k_CN.tile(g, seen.tile),
                             .k_NC = keys_.k_NC.tile(g, seen.tile),
                             .v_CN = keys_.v_CN.tile(g, seen.tile)};
    args.dq_PC = dq_THC == nullptr ? nullptr : dq_PC_.data();
    gradients.Find(seen.tile, kTileKeys * width_, &args);
    BackwardTile(args);
  });
  if (dq_THC != nullptr) {
    StoreQueryGradient(dq_THC);
  }
}

template <typename T>
void BackwardPanel<T>::StoreQueryGradient(T* dq_THC) const {
  for (int r = 0; r < panel_.num_rows; ++r) {
    const float* dq_C = dq_PC_.data() + r * width_;
    for (std::int64_t c = 0; c < in_.view.C; ++c) {
      dq_THC[row(r) + c] = static_cast<T>(in_.view.scale * dq_C[c]);
    }
  }
}

}  // namespace

template <typename T>
void RangeAttentionForwardFast(const ExecContext& ctx,
                               const RangeAttentionArgs<T>& in, T* o_THC,
                               float* lse_HT) {
  const AttentionView& view = in.view;
  const AttentionPlan plan(view);
  const std::vector<char> visited = plan.VisitedTiles();
  const PackedTiles k_CN(ctx, LayoutOf(view, true), in.k_NGC, visited);
  const PackedTiles v_NC(ctx, LayoutOf(view, false), in.v_NGC, visited);
  const std::int64_t width = LayoutOf(view, false).width();
  ParallelFor(plan.num_panels(), 1, [&](std::int64_t i, std::int64_t) {
    const std::int64_t g = plan.kv_head(i);
    const Panel panel = plan.panel(i);
    const auto size = static_cast<std::size_t>(kPanelRows * width);
    std::vector<float> q_PC(size);
    std::vector<float> o_PC(size);
    std::array<float, kPanelRows* kMaxLanes> l_PL = {};
    std::array<float, kPanelRows> m_P;
    m_P.fill(-std::numeric_limits<float>::infinity());
    PackRows(view, panel, in.q_THC, view.scale * kLog2E, width, q_PC.data());
    panel.ForEachTile([&](const TileSeen& seen) {
      ForwardTile({.seen = seen,
                   .num_strips = panel.num_strips(),
                   .C = view.C,
                   .q_PC = q_PC.data(),
                   .k_CN = k_CN.tile(g, seen.tile),
                   .v_NC = v_NC.tile(g, seen.tile),
                   .o_PC = o_PC.data(),
                   .l_PL = l_PL.data(),
                   .m_P = m_P.data()});
    });
    for (int r = 0; r < panel.num_rows; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const std::int64_t h = panel.head[at];
      const std::int64_t t = panel.token[at];
      FinishRow(o_PC.data() + r * width, l_PL.data() + r * kMaxLanes, m_P[at],
                view.C, o_THC + view.row(h, t), lse_HT + h * view.T + t);
    }
  });
}

template <typename T>
void RangeAttentionBackwardFast(const ExecContext& ctx,
                                const RangeAttentionArgs<T>& in,
                                const RangeAttentionSaved<T>& saved, T* dq_THC,
                                T* dk_NGC, T* dv_NGC) {
  const AttentionView& view = in.view;
  const AttentionPlan plan(view);
  const std::vector<char> visited = plan.VisitedTiles();
  const TileLayout columns = LayoutOf(view, true);
  const TileLayout rows = LayoutOf(view, false);
  const BackwardKeys keys = {PackedTiles(ctx, columns, in.k_NGC, visited),
                             PackedTiles(ctx, rows, in.k_NGC, visited),
                             PackedTiles(ctx, columns, in.v_NGC, visited)};
  const bool wants_keys = dk_NGC != nullptr || dv_NGC != nullptr;
  TileSums sums(ctx, wants_keys ? 2 * rows.tile_size() : 0,
                CutIntoPieces(WorkOf(plan), view.G));
  const auto num_pieces = static_cast<std::int64_t>(sums.pieces().size());
  ParallelFor(num_pieces, 1, [&](std::int64_t i, std::int64_t) {
    const auto at = static_cast<std::size_t>(i);
    BackwardPanel<T> panel(in, saved, keys);
    for (const std::int64_t index : sums.pieces()[at].panels) {
      panel.Begin(plan.panel(plan.num_panels() - 1 - index));
      panel.AddTiles(sums.pieces()[at].output,
                     {sums, at, dk_NGC != nullptr, dv_NGC != nullptr}, dq_THC);
    }
  });
  if (wants_keys) {
    StoreKeyGradients(view, sums, dk_NGC, dv_NGC);
  }
}

template void RangeAttentionForwardFast<float>(const ExecContext&,
                                               const RangeAttentionArgs<float>&,
                                               float*, float*);
template void RangeAttentionForwardFast<BFloat16>(
    const ExecContext&, const RangeAttentionArgs<BFloat16>&, BFloat16*, float*);
template void RangeAttentionBackwardFast<float>(
    const ExecContext&, const RangeAttentionArgs<float>&,
    const RangeAttentionSaved<float>&, float*, float*, float*);
template void RangeAttentionBackwardFast<BFloat16>(
    const ExecContext&, const RangeAttentionArgs<BFloat16>&,
    const RangeAttentionSaved<BFloat16>&, BFloat16*, BFloat16*, BFloat16*);

}  // namespace rtpurbo::kernels::cpu
