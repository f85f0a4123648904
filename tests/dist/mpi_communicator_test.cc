// Started by mpirun as 1, 2, 3 and 4 ranks. All ranks run the same cases in the
// same order; rank 0 reports them, the others only what fails.

#include "dist/mpi_communicator.h"

#include <cstdlib>
#include <ctime>
#include <iostream>
#include <numeric>

#include "dist/bootstrap.h"
#include "dist/mesh.h"
#include "tests/dist/communicator_conformance.h"
#include "tests/dist/communicator_failures.h"
#include "tests/dist/communicator_groups.h"

namespace rtpurbo::testing {
namespace {

Bootstrap* bootstrap = nullptr;

// All ranks make a new group for each case, so that a failed one spoils no
// other; then they wait for each other.
void RunAll(int size, const std::function<void(Communicator&)>& fn) {
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  auto group = bootstrap->world().Split(all);
  ASSERT_OK(group.status());
  fn(**group);
  group->reset();
  ASSERT_OK(bootstrap->Barrier());
}

// The same with messages that are cut at odd places.
void RunWithShortMessages(int size,
                          const std::function<void(Communicator&)>& fn) {
  RunAll(size, [&](Communicator& comm) {
    static_cast<MpiCommunicator&>(comm).set_max_message_bytes(30'003);
    fn(comm);
  });
}

std::vector<int> WorldSize() {
  return {bootstrap->size()};
}

INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorTest,
                         ::testing::Values(Ranks{WorldSize(), RunAll},
                                           Ranks{WorldSize(),
                                                 RunWithShortMessages}));
INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorFailureTest,
                         ::testing::Values(Ranks{WorldSize(), RunAll}));

TEST(MpiBootstrapTest, RanksAreThoseOfTheLauncher) {
  EXPECT_EQ(std::to_string(bootstrap->rank()),
            std::getenv("OMPI_COMM_WORLD_RANK"));
  EXPECT_EQ(std::to_string(bootstrap->size()),
            std::getenv("OMPI_COMM_WORLD_SIZE"));
  EXPECT_EQ(std::to_string(bootstrap->local_rank()),
            std::getenv("OMPI_COMM_WORLD_LOCAL_RANK"));
  EXPECT_EQ(bootstrap->local_size(), bootstrap->size());
  EXPECT_FALSE(bootstrap->host_name().empty());
}

TEST(MpiBootstrapTest, BroadcastCopiesTheBytesOfTheRoot) {
  for (int root = 0; root < bootstrap->size(); ++root) {
    for (const std::size_t length : {0U, 1U, 5U, 70'000U}) {
      const std::string expected(length, static_cast<char>('a' + root));
      std::string bytes =
          bootstrap->rank() == root ? expected : "something else";
      ASSERT_OK(bootstrap->Broadcast(root, &bytes));
      EXPECT_EQ(bytes, expected);
    }
  }
}

TEST(MpiBootstrapTest, OpensOnlyOnce) {
  EXPECT_THAT(Bootstrap::Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                          "MPI can be opened only once"));
}

TEST(MpiMeshTest, AxesAreGroupsOfProcesses) {
  const int size = bootstrap->size();
  const auto device = *Device::Open(DeviceType::kCpu);
  ASSERT_OK_AND_ASSIGN(const auto mesh,
                       Mesh::Create({.replica = size % 2 == 0 ? 2 : 1,
                                     .shard = size % 2 == 0 ? size / 2 : size},
                                    &bootstrap->world()));
  for (const MeshAxis axis : {MeshAxis::kReplica, MeshAxis::kShard}) {
    Tensor rank =
        FromHost<std::int32_t>(device->ctx(), {bootstrap->rank()}, {1});
    Communicator& group = mesh->along(axis);
    ASSERT_OK(group.AllReduce(device->ctx(), ReduceOp::kMin, &rank));
    const int stride = axis == MeshAxis::kShard ? 1 : mesh->shape().shard;
    EXPECT_EQ(*rank.data<std::int32_t>(),
              bootstrap->rank() - mesh->index(axis) * stride);
  }
}

// A rank that waits for a late one sleeps.
TEST(MpiBootstrapTest, WaitingBurnsNoCore) {
  ASSERT_OK(bootstrap->Barrier());
  if (bootstrap->rank() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  const std::clock_t start = std::clock();
  ASSERT_OK(bootstrap->Barrier());
  const double seconds =
      static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 0.25);
}

// Names the rank with every failure, and says nothing else.
class FailurePrinter : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (result.failed()) {
      std::cerr << absl::StrCat("rank ", bootstrap->rank(), ": ",
                                result.file_name(), ":", result.line_number(),
                                ": ", result.message(), "\n");
    }
  }
};

int Main(int argc, char** argv) {
  auto opened = Bootstrap::Open();
  if (!opened.ok()) {
    std::cerr << opened.status() << std::endl;
    return 1;
  }
  bootstrap = opened->get();
  ::testing::InitGoogleTest(&argc, argv);
  if (bootstrap->size() == 1) {  // nobody to disagree with
    ::testing::GTEST_FLAG(filter) = "-*CommunicatorFailureTest*";
  }
  if (bootstrap->rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
  }
  const int failed = RUN_ALL_TESTS();
  const absl::Status closed = bootstrap->Close();
  if (!closed.ok()) {
    std::cerr << closed << std::endl;
  }
  return failed == 0 && closed.ok() ? 0 : 1;
}

}  // namespace
}  // namespace rtpurbo::testing

int main(int argc, char** argv) {
  return rtpurbo::testing::Main(argc, argv);
}
