// The teacher of tests/data/tiny, loaded on the CPU.

#ifndef RTPURBO_TESTS_TRAINER_TINY_TEACHER_H_
#define RTPURBO_TESTS_TRAINER_TINY_TEACHER_H_

#include <memory>
#include <utility>

#include "data/file_system.h"
#include "dist/solo_communicator.h"
#include "model/transformer.h"
#include "tests/data/small_tokenizer.h"
#include "trainer/trained_model.h"

namespace rtpurbo::testing {

// Owns its device; one rank; frozen, f32.
class TinyTeacher {
 public:
  TinyTeacher() {
    Transformer::Options options;
    options.max_positions = 4096;
    options.comm = &alone_;
    model_ = LoadTransformer(device_->ctx(), RealFileSystem(),
                             TestDataPath("tiny"), options)
                 .value();
  }

  Transformer& operator*() { return *model_; }
  Transformer* operator->() { return model_.get(); }

 private:
  SoloCommunicator alone_;
  std::unique_ptr<Device> device_ = *Device::Open(DeviceType::kCpu);
  std::unique_ptr<Transformer> model_;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_TRAINER_TINY_TEACHER_H_
