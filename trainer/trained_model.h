// A transformer's parameters as what loaders, optimizers and exporters see.

#ifndef RTPURBO_TRAINER_TRAINED_MODEL_H_
#define RTPURBO_TRAINER_TRAINED_MODEL_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/safetensors.h"
#include "model/transformer.h"
#include "trainer/stage.h"

namespace rtpurbo {

// Reads config.json of a published folder.
absl::StatusOr<ModelConfig> ReadModelConfig(FileSystem& files,
                                            const std::string& folder);

// Returns InvalidArgument if the experts of a model can't be cut over so many
// ranks.
absl::Status CheckExpertAxis(const ModelConfig& config, int num_ranks,
                             const std::string& folder);

// A model with the weights of a published folder. Each rank reads only its own
// intervals of each tensor, and needs little memory beside what it keeps. Says
// how far it is if it takes more than a few seconds.
// Returns NotFound, FailedPrecondition or DataLoss, naming the file and tensor:
// what is missing, of another shape, or in the folder without a place here;
// errors of CheckExpertAxis().
absl::StatusOr<std::unique_ptr<Transformer>> LoadTransformer(
    const ExecContext& ctx, FileSystem& files, const std::string& folder,
    const Transformer::Options& options);

// The ranks that hold the same shards; null if there are no others.
struct Replicas {
  Communicator* of_most = nullptr;
  Communicator* of_experts = nullptr;  // of layers that have a router
};
// The groups that train, for the optimizer.
std::vector<TrainedTensor> TrainedTensors(const Transformer& model,
                                          const Replicas& replicas = {});

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_TRAINED_MODEL_H_
