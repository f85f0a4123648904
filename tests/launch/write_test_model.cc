// write_test_model DIR: writes the test model into DIR, for scripts.

#include <iostream>

#include "tests/trainer/test_model.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_test_model DIR\n";
    return 2;
  }
  rtpurbo::testing::WriteTestModel(argv[1], 3);
  return 0;
}
