#include "launch/commands/load_weights.h"

#include <cstdint>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "data/file_system.h"
#include "dist/agree.h"
#include "dist/bootstrap.h"
#include "dist/pretend_communicator.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

absl::StatusOr<std::pair<int, int>> ParsePretended(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, '/');
  int rank = 0;
  int size = 0;
  if (words.size() != 2 || !absl::SimpleAtoi(words[0], &rank) ||
      !absl::SimpleAtoi(words[1], &size) || rank < 0 || rank >= size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--pretend-rank is \"", text,
        "\", but has to be R/N with 0 <= R < N, as in --pretend-rank=3/8"));
  }
  return std::pair(rank, size);
}

// Loads this rank's part and says what that took.
absl::StatusOr<std::string> LoadAs(const ExecContext& ctx, Communicator& comm,
                                   const std::string& folder) {
  ASSIGN_OR_RETURN(const ModelConfig config,
                   ReadModelConfig(RealFileSystem(), folder));
  Transformer::Options options;
  options.dtype = config.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
  options.max_positions = 1;
  options.comm = &comm;
  const std::int64_t before = PeakResidentBytes();
  const double start = SteadySeconds();
  ASSIGN_OR_RETURN(const auto model,
                   LoadTransformer(ctx, RealFileSystem(), folder, options));
  const double seconds = SteadySeconds() - start;
  std::int64_t held = 0;
  for (const Transformer::Group& group : model->groups()) {
    held += group.params->shard().num_bytes();
  }
  return absl::StrFormat(
      "rank %d of %d: holds %d bytes of weights, grew by %d bytes at most, "
      "%.1f seconds\n",
      comm.rank(), comm.size(), held, PeakResidentBytes() - before, seconds);
}

}  // namespace

absl::Status LoadWeights(const std::string& folder,
                         const std::string& pretended) {
  ASSIGN_OR_RETURN(const auto device, Device::Open(DeviceType::kCpu));
  const ExecContext ctx = device->ctx();
  if (!pretended.empty()) {
    ASSIGN_OR_RETURN(const auto rank_of_size, ParsePretended(pretended));
    PretendCommunicator comm(rank_of_size.first, rank_of_size.second);
    ASSIGN_OR_RETURN(const std::string line, LoadAs(ctx, comm, folder));
    std::cout << line;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto ranks, Bootstrap::Open());
  Communicator& world = ranks->world();
  ASSIGN_OR_RETURN(const std::vector<std::string> lines,
                   GatherResults(ctx, world, LoadAs(ctx, world, folder)));
  if (world.rank() == 0) {
    for (const std::string& line : lines) {
      std::cout << line;
    }
  }
  return ranks->Close();
}

}  // namespace rtpurbo
