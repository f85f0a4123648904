#include "launch/commands/describe.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/file_system.h"
#include "data/safetensors.h"
#include "kernels/core/status_macros.h"
#include "model/head_map.h"

namespace rtpurbo {

absl::StatusOr<std::string> DescribeHeadMap(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string contents, RealFileSystem().ReadFile(path));
  ASSIGN_OR_RETURN(const HeadMap map, HeadMapFromText(contents, path));
  std::size_t num_heads = 0;
  for (const HeadMap::Layer& layer : map.layers) {
    num_heads += layer.retrieval_H.size();
  }
  std::string text = absl::StrCat(
      "head map: ", map.method, ", mean of ", map.documents, " documents\n",
      "share: ", map.share, "\nretrieval heads: ", map.num_retrieval(), " of ",
      num_heads, "\nwindow: ", map.window, ", sinks: ", map.sinks,
      "\nmodel: ", map.model_fingerprint, "\n\nlayer  retrieval heads\n");
  for (std::size_t l = 0; l < map.layers.size(); ++l) {
    std::string heads;
    for (const bool retrieval : map.layers[l].retrieval_H) {
      heads += retrieval ? '#' : '.';
    }
    absl::StrAppendFormat(&text, "%5d  %3d  %s\n", l,
                          std::count(heads.begin(), heads.end(), '#'), heads);
  }
  return text;
}

absl::StatusOr<std::string> DescribeWeights(const std::string& path) {
  ASSIGN_OR_RETURN(const SafetensorsFolder weights,
                   SafetensorsFolder::OpenFile(RealFileSystem(), path));
  const SafetensorsHeader& header = weights.files()[0]->header;
  std::int64_t num_elements = 0;
  std::string tensors;
  for (const SafetensorsEntry& entry : header.entries) {
    num_elements += entry.num_elements();
    absl::StrAppend(&tensors, entry.name, "  ", entry.dtype, " [",
                    absl::StrJoin(entry.shape, ", "), "]\n");
  }
  std::string text = absl::StrCat("tensors: ", header.entries.size(),
                                  "\nelements: ", num_elements,
                                  "\nbytes: ", header.data.size(), "\n");
  for (const auto& [key, value] : header.metadata) {
    absl::StrAppend(&text, "metadata: ", key, " = ", value, "\n");
  }
  return absl::StrCat(text, "\n", tensors);
}

}  // namespace rtpurbo
