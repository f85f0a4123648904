#include "model/head_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/core/check.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

HeadMap Uniform(const ModelConfig& config, const char* method, bool retrieval) {
  HeadMap map;
  map.method = method;
  map.share = retrieval ? 1 : 0;
  HeadMap::Layer layer;
  layer.retrieval_H.assign(static_cast<std::size_t>(config.num_heads),
                           retrieval);
  map.layers.assign(static_cast<std::size_t>(config.num_layers), layer);
  return map;
}

// Sets `count` heads among `candidates` (layer, head), drawn by `rng`; fewer if
// there are fewer. The candidates drawn are removed.
using Heads = std::vector<std::pair<std::size_t, std::size_t>>;
std::int64_t Draw(std::int64_t count, Rng& rng, Heads* candidates,
                  HeadMap* map) {
  std::int64_t drawn = 0;
  for (; drawn < count && !candidates->empty(); ++drawn) {
    const auto i = static_cast<std::size_t>(
        rng.Below(static_cast<std::int64_t>(candidates->size())));
    const auto [layer, head] = (*candidates)[i];
    map->layers[layer].retrieval_H[head] = true;
    candidates->erase(candidates->begin() + static_cast<std::ptrdiff_t>(i));
  }
  return drawn;
}

absl::Status Malformed(absl::string_view file, absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(file, ": ", what));
}

double ShareOf(const ModelConfig& config, const HeadMap& map) {
  return static_cast<double>(map.num_retrieval()) /
         static_cast<double>(config.num_query_heads());
}

// One layer of a headwise_config: a list of 0 or 1 for each query head.
absl::Status ReadHeadwiseLayer(const nlohmann::json& list,
                               const std::string& name, absl::string_view file,
                               HeadMap::Layer* layer) {
  if (!list.is_array() || list.size() != layer->retrieval_H.size()) {
    return Malformed(file,
                     absl::StrCat("layer \"", name, "\" must be a list of ",
                                  layer->retrieval_H.size(), " numbers"));
  }
  for (std::size_t head = 0; head < list.size(); ++head) {
    if (list[head] != 0 && list[head] != 1) {
      return Malformed(file, absl::StrCat("layer \"", name, "\" holds ",
                                          list[head].dump(), ", not 0 or 1"));
    }
    layer->retrieval_H[head] = list[head] == 1;
  }
  return absl::OkStatus();
}

}  // namespace

std::int64_t HeadMap::num_retrieval() const {
  std::int64_t count = 0;
  for (const Layer& layer : layers) {
    count +=
        std::count(layer.retrieval_H.begin(), layer.retrieval_H.end(), true);
  }
  return count;
}

std::vector<std::int32_t> HeadMap::RetrievalHeads(std::int64_t layer) const {
  const std::vector<bool>& all =
      layers[static_cast<std::size_t>(layer)].retrieval_H;
  std::vector<std::int32_t> heads;
  for (std::size_t head = 0; head < all.size(); ++head) {
    if (all[head]) {
      heads.push_back(static_cast<std::int32_t>(head));
    }
  }
  return heads;
}

HeadMap DenseMap(const ModelConfig& config) {
  return Uniform(config, "dense", true);
}

HeadMap LocalMap(const ModelConfig& config) {
  return Uniform(config, "window only", false);
}

std::vector<std::size_t> RankScores(const std::vector<float>& score) {
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, auto b) { return score[a] > score[b]; });
  return order;
}

std::int64_t NumRetrieval(const ModelConfig& config, double share) {
  const std::int64_t num_heads = config.num_query_heads();
  return std::clamp<std::int64_t>(
      std::llround(share * static_cast<double>(num_heads)), 1, num_heads);
}

HeadMap MapFromScores(const ModelConfig& config, double share,
                      const std::vector<float>& score) {
  const auto num_heads = static_cast<std::size_t>(config.num_query_heads());
  CHECK_EQ(score.size(), num_heads);
  const std::vector<std::size_t> order = RankScores(score);
  const auto count = static_cast<std::size_t>(NumRetrieval(config, share));
  HeadMap map = LocalMap(config);
  map.share = share;
  const auto H = static_cast<std::size_t>(config.num_heads);
  for (std::size_t i = 0; i < count; ++i) {
    map.layers[order[i] / H].retrieval_H[order[i] % H] = true;
  }
  for (std::size_t i = 0; i < num_heads; ++i) {
    map.layers[i / H].score_H.push_back(score[i]);
  }
  return map;
}

HeadMap RandomMap(const HeadMap& map, std::uint64_t seed, bool per_layer) {
  HeadMap random = map;
  random.method = "random";
  Rng rng(seed, /*stream=*/0x72616e646f6d);
  Heads rest;
  std::int64_t missing = map.num_retrieval();
  for (std::size_t l = 0; l < map.layers.size(); ++l) {
    Heads local;
    std::int64_t here = 0;
    for (std::size_t h = 0; h < map.layers[l].retrieval_H.size(); ++h) {
      if (map.layers[l].retrieval_H[h]) {
        ++here;
      } else {
        local.emplace_back(l, h);
      }
    }
    random.layers[l].retrieval_H.assign(map.layers[l].retrieval_H.size(),
                                        false);
    random.layers[l].score_H.clear();
    if (per_layer) {
      missing -= Draw(here, rng, &local, &random);
    }
    rest.insert(rest.end(), local.begin(), local.end());
  }
  Draw(missing, rng, &rest, &random);
  return random;
}

absl::StatusOr<HeadMap> HeadMapFromHeadwise(const ModelConfig& config,
                                            absl::string_view json,
                                            absl::string_view file) {
  const nlohmann::json root = nlohmann::json::parse(
      json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    return absl::DataLossError(absl::StrCat(file, ": not valid JSON"));
  }
  if (!root.is_object()) {
    return Malformed(file, "is not a JSON object");
  }
  const nlohmann::json& map_json =
      root.contains("headwise_config") ? root["headwise_config"] : root;
  HeadMap map = LocalMap(config);
  map.method = "headwise_config";
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    const std::string name = absl::StrCat(l);
    if (!map_json.is_object() || !map_json.contains(name)) {
      return Malformed(file,
                       absl::StrCat("has no layer \"", name, "\", but ",
                                    config.num_layers, " layers are expected"));
    }
    RETURN_IF_ERROR(ReadHeadwiseLayer(
        map_json[name], name, file, &map.layers[static_cast<std::size_t>(l)]));
  }
  const auto size = [&](const char* key) -> std::int64_t {
    return map_json.contains(key) && map_json[key].is_number_integer()
               ? map_json[key].get<std::int64_t>()
               : 0;
  };
  map.window = size("swa_token_num");
  map.sinks = size("sink_token_num");
  map.share = ShareOf(config, map);
  return map;
}

absl::StatusOr<HeadMap> HeadMapFromDuoAttention(const ModelConfig& config,
                                                absl::string_view text,
                                                double threshold,
                                                absl::string_view file) {
  HeadMap map = LocalMap(config);
  map.method = "duo_attention";
  const std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipWhitespace());
  if (static_cast<std::int64_t>(lines.size()) != config.num_layers) {
    return Malformed(file,
                     absl::StrCat("has ", lines.size(), " lines, but ",
                                  config.num_layers, " layers are expected"));
  }
  for (std::size_t l = 0; l < lines.size(); ++l) {
    const std::vector<std::string> cells =
        absl::StrSplit(lines[l], absl::ByAnyChar(" \t\r,"), absl::SkipEmpty());
    if (static_cast<std::int64_t>(cells.size()) != config.num_kv_heads) {
      return Malformed(file, absl::StrCat("line ", l + 1, " has ", cells.size(),
                                          " values, but ", config.num_kv_heads,
                                          " key/value heads are expected"));
    }
    for (std::int64_t h = 0; h < config.num_heads; ++h) {
      const std::string& cell =
          cells[static_cast<std::size_t>(config.kv_head(h))];
      double gate = 0;
      if (!absl::SimpleAtod(cell, &gate) || !std::isfinite(gate)) {
        return Malformed(file, absl::StrCat("line ", l + 1, " holds \"", cell,
                                            "\", not a number"));
      }
      map.layers[l].retrieval_H[static_cast<std::size_t>(h)] =
          gate >= threshold;
      map.layers[l].score_H.push_back(static_cast<float>(gate));
    }
  }
  map.share = ShareOf(config, map);
  return map;
}

}  // namespace rtpurbo
