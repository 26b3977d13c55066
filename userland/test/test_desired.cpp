// SPDX-License-Identifier: GPL-2.0
//
// From what is recorded to nvmet's state: the ANA groups above all.
#include "pav/desired.hpp"

#include <gtest/gtest.h>

#include "pav/config.hpp"

namespace pav {
namespace {

// 4 controllers of one port each in one zone.
Config config_of(unsigned controllers) {
    std::string text = "zones: ( { id = 1; } );\ncontrollers: (", ports = "ports: (";
    for (unsigned id = 1; id <= controllers; id++) {
        const std::string n = std::to_string(id);
        text += std::string(id > 1 ? "," : "") + "{ id = " + n + "; zone = 1; protocol = \"tcp\"; }";
        ports += std::string(id > 1 ? "," : "") + "{ name = \"100g-1/" + n + "\"; controller = " + n + "; interface = \"e" + n + "\"; ip = \"10.0.0." + n + "\"; }";
    }
    auto config = parse_config(text + ");\n" + ports + ");\n", "test.conf");
    EXPECT_TRUE(config) << config.error().to_text();
    return std::move(config).value();
}

Volume volume_on(unsigned id, std::vector<std::string> ports, const std::string &active = "") {
    Volume v;
    v.group = "G";
    v.name = "v" + std::to_string(id);
    v.id = id;
    v.serial = "GB0" + std::to_string(id);
    v.uuid[0] = static_cast<std::uint8_t>(id);
    v.block_device = "pav" + std::to_string(id);
    Export e;
    e.ports = std::move(ports);
    e.active = active.empty() && !e.ports.empty() ? e.ports[0] : active;
    v.props = props_of(e);
    return v;
}

const PortCheck all_ready = [](const Port &) { return std::nullopt; };

nvmet::State derived(const Config &config, const std::vector<Volume> &volumes, const nvmet::State &current = {}) {
    auto desired = derive(config, volumes, current, all_ready);
    EXPECT_TRUE(desired) << desired.error().to_text();
    const auto valid = nvmet::validate(desired->state);
    EXPECT_TRUE(valid) << valid.error().to_text();
    return valid.value();
}

unsigned group_of(const nvmet::State &state, const Volume &volume) { return state.subsystems.at(volume.serial).namespaces.at(1).ana_grpid; }

// Where the volume is optimized, non-optimized: as a host sees it.
std::string paths_of(const nvmet::State &state, const Volume &volume) {
    std::string text;
    for (const auto &[id, port] : state.ports) {
        if (!port.subsystems.contains(volume.serial)) continue;
        const auto it = port.ana_groups.find(group_of(state, volume));
        text += std::to_string(id) + "=" + (it == port.ana_groups.end() ? "none" : std::string(nvmet::to_string(it->second))) + " ";
    }
    return text;
}

TEST(Derive, NothingAssignedIsNothingInNvmet) {
    const auto state = derived(config_of(2), {volume_on(1, {})});
    EXPECT_EQ(state, nvmet::State{});
}

TEST(Derive, GoldenOfThreeVolumes) {
    const auto config = config_of(3);
    const auto a = volume_on(1, {"100g-1/1", "100g-1/2"}), b = volume_on(2, {"100g-1/2", "100g-1/1"}), c = volume_on(3, {"100g-1/3"});
    const auto failed_over = volume_on(4, {"100g-1/1", "100g-1/2"}, "100g-1/2");
    const auto state = derived(config, {a, b, c, failed_over});
    EXPECT_EQ(paths_of(state, a), "10101=optimized 10201=non-optimized ");
    EXPECT_EQ(paths_of(state, b), "10101=non-optimized 10201=optimized ");
    EXPECT_EQ(paths_of(state, c), "10301=optimized ");
    EXPECT_EQ(paths_of(state, failed_over), paths_of(state, b)) << "failed over is the opposite order";
    EXPECT_EQ(group_of(state, failed_over), group_of(state, b)) << "one group an ordered pair, not one a volume";
    EXPECT_NE(group_of(state, a), group_of(state, b));
    EXPECT_EQ(group_of(state, c), 1U);
}

TEST(Derive, NumbersStayWhenVolumesComeAndGo) {
    const auto config = config_of(4);
    const auto ab = volume_on(1, {"100g-1/1", "100g-1/2"}), cd = volume_on(2, {"100g-1/3", "100g-1/4"}), ad = volume_on(3, {"100g-1/1", "100g-1/4"});
    const auto both = derived(config, {ab, cd});
    const auto only_cd = derived(config, {cd}, both);
    EXPECT_EQ(group_of(only_cd, cd), group_of(both, cd));
    const auto again = derived(config, {ad, ab, cd}, only_cd);
    EXPECT_EQ(group_of(again, cd), group_of(both, cd));
    for (const auto *v : {&ab, &cd, &ad}) EXPECT_EQ(paths_of(again, *v).find("none"), std::string::npos);
    EXPECT_EQ(derived(config, {ad, ab, cd}, again), again) << "a fixed point";
}

TEST(Derive, EveryPairOf8ControllersFitsAndNoneTooManyIsLost) {
    std::vector<Volume> volumes;
    unsigned id = 0;
    const auto pairs_of = [&](unsigned controllers) {
        volumes.clear();
        for (unsigned a = 1; a <= controllers; a++)
            for (unsigned b = a + 1; b <= controllers; b++)
                volumes.push_back(volume_on(++id, {"100g-1/" + std::to_string(a), "100g-1/" + std::to_string(b)}));
    };
    pairs_of(8);
    const auto state = derived(config_of(8), volumes);
    std::map<unsigned, std::string> by_group;
    for (const auto &volume : volumes) {
        const auto [it, fresh] = by_group.emplace(group_of(state, volume), paths_of(state, volume));
        EXPECT_TRUE(fresh) << "two pairs share ANA group " << it->first;
        EXPECT_LE(it->first, nvmet::max_ana_group);
    }
    pairs_of(12);  // 66 pairs: 132 groups
    const auto refused = derive(config_of(12), volumes, {}, all_ready);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().reason.find("127 groups"), std::string::npos);
}

TEST(Derive, APortThatIsNotReadyGetsNoNewLinksAndKeepsOldOnes) {
    const auto config = config_of(2);
    const auto v1 = volume_on(1, {"100g-1/1", "100g-1/2"}), v2 = volume_on(2, {"100g-1/1", "100g-1/2"});
    const auto current = derived(config, {v1});
    const auto desired = derive(config, {v1, v2}, current, [](const Port &port) -> std::optional<std::string> {
        if (port.name == "100g-1/2") return "no address";
        return std::nullopt;
    });
    ASSERT_TRUE(desired);
    EXPECT_EQ(desired->state.ports.at(10201).subsystems, (std::set<std::string>{v1.serial}));
    EXPECT_EQ(desired->state.ports.at(10101).subsystems, (std::set<std::string>{v1.serial, v2.serial}));
    ASSERT_EQ(desired->left_out.size(), 1U);
    EXPECT_EQ(desired->left_out[0].port, "100g-1/2");
    EXPECT_EQ(desired->left_out[0].reason, "no address");
}

TEST(Derive, APortOfAnotherHostIsLeftOutAndTheOtherServesAlone) {
    const auto config = config_of(1);
    const auto v = volume_on(1, {"100g-1/9", "100g-1/1"});
    const auto desired = derive(config, {v}, {}, all_ready);
    ASSERT_TRUE(desired);
    EXPECT_EQ(paths_of(desired->state, v), "10101=optimized ");
    ASSERT_EQ(desired->left_out.size(), 1U);
    EXPECT_EQ(desired->left_out[0].volume, "G/v1");
    EXPECT_NE(desired->left_out[0].reason.find("100g-1/9 is not in test.conf"), std::string::npos);
}

TEST(Derive, TwoVolumesOfOneNqnAreRefused) {
    auto copy = volume_on(1, {"100g-1/1"});
    copy.group = "H";
    const auto refused = derive(config_of(1), {volume_on(1, {"100g-1/1"}), copy}, {}, all_ready);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().to_text().find("GB01"), std::string::npos);
}

}  // namespace
}  // namespace pav
