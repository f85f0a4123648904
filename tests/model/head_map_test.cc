#include "model/head_map.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/small_config.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// 8 query heads in 2 layers.
std::vector<float> Scores() {
  return {0.1F, 0.9F, 0.1F, 0.3F, 0.3F, 0.2F, 0.8F, 0.0F};
}

TEST(HeadMapTest, RanksHeadsOfAllLayersTogether) {
  const HeadMap map = MapFromScores(SmallConfig(), 0.25, Scores());
  EXPECT_THAT(map.RetrievalHeads(0), ElementsAre(1));
  EXPECT_THAT(map.RetrievalHeads(1), ElementsAre(2));
  EXPECT_EQ(map.layers[1].score_H[2], 0.8F);
}

TEST(HeadMapTest, RoundsTheShareAndKeepsAtLeastOneHead) {
  EXPECT_EQ(MapFromScores(SmallConfig(), 0.3, Scores()).num_retrieval(), 2);
  EXPECT_EQ(MapFromScores(SmallConfig(), 0.32, Scores()).num_retrieval(), 3);
  EXPECT_EQ(MapFromScores(SmallConfig(), 0.001, Scores()).num_retrieval(), 1);
  EXPECT_EQ(MapFromScores(SmallConfig(), 1, Scores()).num_retrieval(), 8);
}

TEST(HeadMapTest, OfEqualScoresTakesTheEarlierHead) {
  const HeadMap map = MapFromScores(SmallConfig(), 0.375, Scores());
  EXPECT_THAT(map.RetrievalHeads(0), ElementsAre(1, 3));
}

TEST(HeadMapTest, RandomMapAvoidsTheHeadsOfTheMap) {
  const HeadMap map = MapFromScores(SmallConfig(), 0.5, Scores());
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const HeadMap random = RandomMap(map, seed, false);
    EXPECT_EQ(random.num_retrieval(), 4);
    for (std::int64_t l = 0; l < 2; ++l) {
      for (std::int64_t h = 0; h < 4; ++h) {
        EXPECT_FALSE(random.retrieves(l, h) && map.retrieves(l, h));
      }
    }
  }
}

TEST(HeadMapTest, RandomMapPerLayerKeepsEachLayersCount) {
  HeadMap map = MapFromScores(SmallConfig(), 0.375, Scores());
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const HeadMap random = RandomMap(map, seed, true);
    EXPECT_EQ(random.RetrievalHeads(0).size(), 2U);
    EXPECT_EQ(random.RetrievalHeads(1).size(), 1U);
  }
}

TEST(HeadMapTest, ReadsAHeadwiseConfig) {
  const auto map = HeadMapFromHeadwise(
      SmallConfig(),
      R"({"headwise_config": {"sink_token_num": 4, "swa_token_num": 256,
          "0": [0, 1, 0, 0], "1": [1, 0, 0, 1]}})",
      "config.json");
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(map->RetrievalHeads(0), ElementsAre(1));
  EXPECT_THAT(map->RetrievalHeads(1), ElementsAre(0, 3));
  EXPECT_EQ(map->window, 256);
  EXPECT_EQ(map->sinks, 4);
}

TEST(HeadMapTest, RefusesMalformedMapsByName) {
  const auto error = [](const char* json) {
    return std::string(HeadMapFromHeadwise(SmallConfig(), json, "map.json")
                           .status()
                           .message());
  };
  EXPECT_THAT(error("[]"), HasSubstr("map.json"));
  EXPECT_THAT(error(R"({"0": [0,1,0,0]})"), HasSubstr("layer \"1\""));
  EXPECT_THAT(error(R"({"0": [0,1,0], "1": [0,0,0,0]})"),
              HasSubstr("a list of 4"));
  EXPECT_THAT(error(R"({"0": [0,1,0,2], "1": [0,0,0,0]})"), HasSubstr("2"));
}

TEST(HeadMapTest, DamagedAndUnfitMapsAreToldApart) {
  EXPECT_THAT(HeadMapFromHeadwise(SmallConfig(), "{\"0\": [0,", "map.json"),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("map.json: not valid JSON")));
  EXPECT_THAT(HeadMapFromHeadwise(SmallConfig(), R"({"0": [0,1]})", "map.json"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(HeadMapFromDuoAttention(SmallConfig(), "1 0\n", 0.5, "duo.tsv"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(HeadMapFromText("layers {", "heads.textproto"),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(HeadMapTest, ReadsAPatternOfDuoAttention) {
  const auto map =
      HeadMapFromDuoAttention(SmallConfig(), "0.9 0.1\n0.2\t0.5\n", 0.5, "f");
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(map->RetrievalHeads(0), ElementsAre(0, 1));
  EXPECT_THAT(map->RetrievalHeads(1), ElementsAre(2, 3));
  const auto error = [](const char* text) {
    return std::string(
        HeadMapFromDuoAttention(SmallConfig(), text, 0.5, "duo.tsv")
            .status()
            .message());
  };
  EXPECT_THAT(error("1 0\n"), HasSubstr("duo.tsv: has 1 lines"));
  EXPECT_THAT(error("1 0\n1\n"), HasSubstr("line 2 has 1 values"));
  EXPECT_THAT(error("1 0\n1 x\n"), HasSubstr("line 2 holds \"x\""));
}

TEST(HeadMapTest, TextKeepsEverything) {
  HeadMap map = MapFromScores(SmallConfig(), 0.375, Scores());
  map.method = "effect";
  map.window = 256;
  map.sinks = 4;
  map.documents = 10;
  map.model_fingerprint = "abc";
  const auto again = HeadMapFromText(ToText(map), "heads.textproto");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToText(*again), ToText(map));
  EXPECT_EQ(again->layers[1].score_H, map.layers[1].score_H);
  EXPECT_EQ(again->layers[0].retrieval_H, map.layers[0].retrieval_H);
  EXPECT_EQ(again->method, "effect");
}

TEST(HeadMapTest, MalformedTextNamesFileAndLine) {
  const auto error = [](const char* text) {
    return std::string(
        HeadMapFromText(text, "heads.textproto").status().message());
  };
  EXPECT_THAT(error("method: \"needle\"\nheads: 3\n"),
              HasSubstr("heads.textproto:2: "));
  EXPECT_THAT(error("layers { retrieval: [true, false] score: [1] }"),
              HasSubstr("layer 0 has 2 heads, but 1 scores"));
}

TEST(HeadMapTest, MapOfAnotherModelIsRefused) {
  HeadMap map = DenseMap(SmallConfig());
  EXPECT_TRUE(CheckFits(SmallConfig(), map, "m").ok());
  map.layers[1].retrieval_H.pop_back();
  EXPECT_FALSE(CheckFits(SmallConfig(), map, "m").ok());
  map.layers.pop_back();
  EXPECT_THAT(std::string(CheckFits(SmallConfig(), map, "m").message()),
              HasSubstr("m: the map has 1 layers of 4 heads"));
}

TEST(HeadMapTest, DenseAndLocalMapsAreOpposites) {
  EXPECT_EQ(DenseMap(SmallConfig()).num_retrieval(), 8);
  EXPECT_EQ(LocalMap(SmallConfig()).num_retrieval(), 0);
  EXPECT_THAT(LocalMap(SmallConfig()).RetrievalHeads(0), IsEmpty());
}

}  // namespace
}  // namespace rtpurbo::testing
