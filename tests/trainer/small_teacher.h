// A published folder of a model with the sizes of SmallConfig().

#ifndef RTPURBO_TESTS_TRAINER_SMALL_TEACHER_H_
#define RTPURBO_TESTS_TRAINER_SMALL_TEACHER_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dist/solo_communicator.h"
#include "model/sparse_mode.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {

struct SmallTeacher {
  std::string dtype = "BF16";  // of the tensors: "BF16", "F16", "F32"
  bool tied = true;
  bool head_copy = false;  // a tied head is in the folder, too
  unsigned seed = 1;
};

// Writes config.json, model.safetensors and a tokenizer_config.json.
void WriteSmallTeacher(const std::string& folder,
                       const SmallTeacher& teacher = {});

// Heads 1 of layer 0 and 0, 3 of layer 1 retrieve; random projections of width
// 4 over tokens; window 5, sinks 2, dense up to 16 tokens.
SparseMode SmallMode(const ExecContext& ctx, const ModelConfig& config);

// Loads and owns what belongs to one model on one rank.
class Loader {
 public:
  explicit Loader(const std::set<Role>& trainable = {},
                  DType dtype = DType::kF32);

  ExecContext ctx() const { return device_->ctx(); }
  const Transformer::Options& options() const { return options_; }

 private:
  SoloCommunicator alone_;
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  Transformer::Options options_;
};

// All weights, group by group.
std::vector<float> WeightsOf(const Transformer& model);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TRAINER_SMALL_TEACHER_H_
