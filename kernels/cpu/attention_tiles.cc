#include "kernels/cpu/attention_tiles.h"

#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace rtpurbo::kernels::cpu {
namespace {

// Bits [begin, end) of a tile, given as distances from its first key.
std::uint64_t Bits(std::int64_t begin, std::int64_t end) {
  begin = std::clamp<std::int64_t>(begin, 0, kTileKeys);
  end = std::clamp<std::int64_t>(end, 0, kTileKeys);
  if (begin >= end) {
    return 0;
  }
  const std::uint64_t all = ~std::uint64_t{0};
  return (all >> (kTileKeys - end)) & (all << begin);
}

// A half-open range of tiles.
struct TileRange {
  std::int64_t begin = std::numeric_limits<std::int64_t>::max();
  std::int64_t end = 0;

  void Cover(std::int64_t first_key, std::int64_t end_key) {
    if (first_key < end_key) {
      begin = std::min(begin, first_key / kTileKeys);
      end = std::max(end, NumTiles(end_key));
    }
  }
};

}  // namespace

std::uint64_t RowKeys::SeenInTile(std::int64_t tile) const {
  const std::int64_t first = tile * kTileKeys;
  if (bits == nullptr) {
    return Bits(begin - first, sink_end - first) |
           Bits(window_begin - first, end - first);
  }
  std::uint64_t seen = 0;
  const std::int64_t last = std::min(end, first + kTileKeys) - 1;
  for (std::int64_t b = std::max(begin, first) / block; b * block <= last;
       ++b) {
    if (AttentionView::BlockIsSet(bits, b)) {
      seen |= Bits(b * block - first, (b + 1) * block - first);
    }
  }
  return seen & Bits(begin - first, end - first);
}

RowKeys KeysOf(const AttentionView& view, std::int64_t h, std::int64_t t) {
  const std::int64_t i = view.query_begin + t;
  const std::int64_t d = view.document(i);
  return {.begin = d,
          .sink_end = std::min(d + view.sinks, i + 1),
          .window_begin = std::max(d, i - view.window_H[h]),
          .end = i + 1,
          .bits = view.mask(h, t),
          .block = view.block};
}

void Panel::Add(std::int64_t h, std::int64_t t, const RowKeys& row_keys) {
  const auto r = static_cast<std::size_t>(num_rows++);
  head[r] = h;
  token[r] = t;
  keys[r] = row_keys;
}

void Panel::ForEachTile(
    const std::function<void(const TileSeen& seen)>& fn) const {
  TileRange sinks;
  TileRange window;
  for (int r = 0; r < num_rows; ++r) {
    const RowKeys& row = keys[static_cast<std::size_t>(r)];
    const bool selected = row.bits != nullptr;
    sinks.Cover(row.begin, selected ? row.begin : row.sink_end);
    window.Cover(selected ? row.begin : row.window_begin, row.end);
  }
  TileSeen seen;
  const auto visit = [&](std::int64_t begin, std::int64_t end) {
    for (seen.tile = begin; seen.tile < end; ++seen.tile) {
      std::uint64_t any = 0;
      for (std::size_t r = 0; r < static_cast<std::size_t>(num_rows); ++r) {
        seen.row[r] = keys[r].SeenInTile(seen.tile);
        any |= seen.row[r];
      }
      if (any != 0) {
        fn(seen);
      }
    }
  };
  visit(sinks.begin, std::min(sinks.end, window.begin));
  visit(window.begin, std::max(sinks.end, window.end));
}

std::int64_t Panel::NumTiles() const {
  std::int64_t count = 0;
  ForEachTile([&](const TileSeen&) { ++count; });
  return count;
}

AttentionPlan::AttentionPlan(const AttentionView& view) : view_(view) {
  AddGroups(0, view.T - view.selected_rows);
  AddGroups(view.T - view.selected_rows, view.T);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto heads = static_cast<std::int64_t>(groups_[i].heads.size());
    for (std::int64_t first = 0; first < groups_[i].num_rows();
         first += kPanelRows) {
      panels_.push_back({i, first, groups_[i].begin + first / heads});
    }
  }
  std::stable_sort(
      panels_.begin(), panels_.end(),
      [](const Piece& a, const Piece& b) { return a.token > b.token; });
}

// Rows with a selection see by a rule of their own head.
void AttentionPlan::AddGroups(std::int64_t begin, std::int64_t end) {
  using Rule = std::tuple<std::int64_t, std::int64_t, std::int64_t>;
  std::map<Rule, std::vector<std::int64_t>> heads;
  for (std::int64_t h = 0; h < view_.H && begin < end; ++h) {
    const bool selected = view_.mask(h, begin) != nullptr;
    const Rule rule = {view_.kv_head_H[h], selected ? h : -1,
                       selected ? 0 : view_.window_H[h]};
    heads[rule].push_back(h);
  }
  for (auto& [rule, list] : heads) {
    groups_.push_back({std::get<0>(rule), begin, end, std::move(list)});
  }
}

Panel AttentionPlan::panel(std::int64_t i) const {
  const Group& rows = group(i);
  const std::int64_t first = panels_[static_cast<std::size_t>(i)].first;
  const auto heads = static_cast<std::int64_t>(rows.heads.size());
  Panel panel;
  for (std::int64_t r = first;
       r < std::min(first + kPanelRows, rows.num_rows()); ++r) {
    const std::int64_t h = rows.heads[static_cast<std::size_t>(r % heads)];
    const std::int64_t t = rows.begin + r / heads;
    panel.Add(h, t, KeysOf(view_, h, t));
  }
  return panel;
}

std::vector<char> AttentionPlan::VisitedTiles() const {
  const std::int64_t tiles = NumTiles(view_.N);
  std::vector<char> visited(static_cast<std::size_t>(view_.G * tiles));
  for (std::int64_t i = 0; i < num_panels(); ++i) {
    panel(i).ForEachTile([&](const TileSeen& seen) {
      visited[static_cast<std::size_t>(kv_head(i) * tiles + seen.tile)] = 1;
    });
  }
  return visited;
}

}  // namespace rtpurbo::kernels::cpu
