#include "launch/commands/load_weights.h"

#include <sys/resource.h>

#include <chrono>
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
#include "kernels/core/status_macros.h"
#include "trainer/trained_model.h"

namespace rtpurbo {
namespace {

// Of this process so far.
std::int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

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
absl::StatusOr<std::string> LoadAs(Communicator& comm,
                                   const std::string& folder) {
  ASSIGN_OR_RETURN(const auto device, Device::Open(DeviceType::kCpu));
  ASSIGN_OR_RETURN(const ModelConfig config,
                   ReadModelConfig(RealFileSystem(), folder));
  Transformer::Options options;
  options.dtype = config.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
  options.max_positions = 1;
  options.comm = &comm;
  const std::int64_t before = PeakResidentBytes();
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(
      const auto model,
      LoadTransformer(device->ctx(), RealFileSystem(), folder, options));
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  std::int64_t held = 0;
  for (const Transformer::Group& group : model->groups()) {
    held += group.params->shard().num_bytes();
  }
  return absl::StrFormat(
      "rank %d of %d: holds %d bytes of weights, grew by %d bytes at most, "
      "%.1f seconds\n",
      comm.rank(), comm.size(), held, PeakResidentBytes() - before,
      seconds.count());
}

}  // namespace

absl::Status LoadWeights(const std::string& folder,
                         const std::string& pretended) {
  if (!pretended.empty()) {
    ASSIGN_OR_RETURN(const auto rank_of_size, ParsePretended(pretended));
    PretendCommunicator comm(rank_of_size.first, rank_of_size.second);
    ASSIGN_OR_RETURN(const std::string line, LoadAs(comm, folder));
    std::cout << line;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto device, Device::Open(DeviceType::kCpu));
  ASSIGN_OR_RETURN(const auto ranks, Bootstrap::Open());
  Communicator& world = ranks->world();
  ASSIGN_OR_RETURN(const std::vector<std::string> lines,
                   GatherResults(device->ctx(), world, LoadAs(world, folder)));
  if (world.rank() == 0) {
    for (const std::string& line : lines) {
      std::cout << line;
    }
  }
  return ranks->Close();
}

}  // namespace rtpurbo
