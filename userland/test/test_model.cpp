// SPDX-License-Identifier: GPL-2.0
//
// Names, sizes, serials and export settings: R4, R7, R9, R10.
#include "pav/model.hpp"

#include <gtest/gtest.h>

namespace pav {
namespace {

TEST(PortName, R4GrammarTakesTheGuidesNames) {
    const auto name = parse_port_name("100g-1/3");
    ASSERT_TRUE(name);
    EXPECT_EQ(name->speed_gbps, 100U);
    EXPECT_EQ(name->ordinal, 1U);
    EXPECT_EQ(name->number, 3U);
    EXPECT_TRUE(parse_port_name("25g-12/20"));
}

TEST(PortName, R4GrammarRefusesTheRest) {
    for (const auto *bad : {"", "100g-1", "100g1/3", "100-1/3", "g-1/3", "100g-/3", "100g-1/", "100g-0/3", "100g-1/0", "100g-1/21", "100g-100/3", "99g-1/3",
                            "0100g-1/3", "100g-01/3", "100g-1/3 ", "100g-1/3/4", "100g--1/3", "100g-99999999999/3"}) {
        const auto name = parse_port_name(bad);
        EXPECT_FALSE(name) << bad;
        EXPECT_TRUE(name || !name.error().reason.empty()) << bad;
    }
}

TEST(PortName, NvmetNumbersFollowFromControllerAndOrdinal) {
    Port port;
    port.controller = 20;
    port.parsed = {100, 99, 20};
    EXPECT_EQ(nvmet_port_id(port), nvmet_port_last);
    port.controller = 1;
    port.parsed.ordinal = 1;
    EXPECT_EQ(nvmet_port_id(port), nvmet_port_first);
}

TEST(Size, R7GbIsGib) {
    EXPECT_EQ(parse_size("100", "GB").value(), 107374182400ULL);  // 107.37 GB in nvme list
    EXPECT_EQ(parse_size("100", "GiB").value(), 107374182400ULL);
    EXPECT_EQ(parse_size("1", "mb").value(), 1ULL << 20);
    EXPECT_EQ(parse_size("64", "TB").value(), 1ULL << 46);
}

TEST(Size, RefusesWhatIsNoSize) {
    for (const auto &[number, unit] : std::vector<std::pair<const char *, const char *>>{
             {"0", "GB"}, {"", "GB"}, {"-1", "GB"}, {"1.5", "GB"}, {"1", "KB"}, {"1", ""}, {"65", "TB"}, {"99999999999999999999", "GB"}, {"18446744073709551615", "TB"}})
        EXPECT_FALSE(parse_size(number, unit)) << number << " " << unit;
}

TEST(Size, TextReadsBack) {
    EXPECT_EQ(size_text(107374182400ULL), "100 GB");
    EXPECT_EQ(size_text(1ULL << 46), "64 TB");
    EXPECT_EQ(size_text(3ULL << 29), "1.50 GB");
    EXPECT_EQ(size_text(0), "0 bytes");
}

TEST(Names, WhatTheKernelTakes) {
    EXPECT_TRUE(check_name("group", "MG1"));
    EXPECT_TRUE(check_name("group", "a.b_c-d"));
    EXPECT_TRUE(check_name("group", std::string(63, 'a')));
    for (const auto &bad : {std::string(), std::string("-a"), std::string("a/b"), std::string("a b"), std::string("é"), std::string(64, 'a'), std::string("..")})
        EXPECT_FALSE(check_name("group", bad)) << bad;
}

TEST(Names, R10ModelBeginsWithPvl) {
    EXPECT_TRUE(check_model("PVL-" + std::string(36, 'X')));
    EXPECT_FALSE(check_model("PVL-" + std::string(37, 'X')));
    EXPECT_FALSE(check_model("Linux"));
    EXPECT_FALSE(check_model("PVL-X "));
}

TEST(Names, R9SerialHasAtMost20Characters) {
    EXPECT_TRUE(check_serial("GB00051104bbf912"));
    EXPECT_TRUE(check_serial(std::string(20, 'A')));
    EXPECT_FALSE(check_serial(std::string(21, 'A')));
    EXPECT_FALSE(check_serial("GB0 1"));
    EXPECT_FALSE(check_serial(""));
}

TEST(Nearest, FindsTyposAndOnlyThose) {
    const std::vector<std::string> words{"group", "volume", "port-name"};
    EXPECT_EQ(nearest("volme", words), "volume");
    EXPECT_EQ(nearest("gruop", words), "group");
    EXPECT_EQ(nearest("port", words), "port-name");
    EXPECT_EQ(nearest("xyzzy", words), std::nullopt);
    EXPECT_EQ(nearest("a", {}), std::nullopt);
}

TEST(Export, GoesThroughPropertiesAndBack) {
    Export e;
    e.ports = {"100g-1/2", "100g-1/1"};
    e.active = "100g-1/1";
    e.hosts = {"nqn.a", "nqn.b"};
    e.nqn = "nqn.x";
    EXPECT_EQ(export_of(props_of(e)), e);
    EXPECT_EQ(props_of(e).at("export.ports"), "100g-1/2 100g-1/1");
    EXPECT_EQ(props_of(e).at("export.active"), "100g-1/1");
    e.active = "100g-1/2";
    EXPECT_FALSE(props_of(e).contains("export.active")) << "the preferred port is active unless something else is recorded";
    EXPECT_EQ(export_of(props_of(e)), e);
    EXPECT_EQ(export_of({}), Export{});
}

TEST(Export, DamagedPropertiesAreReadSanely) {
    const Export e = export_of({{"export.ports", " a  b c a"}, {"export.active", "z"}, {"export.any", "1"}, {"export.host.0", "nqn.h"}});
    EXPECT_EQ(e.ports, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(e.active, "a");
    EXPECT_TRUE(e.allow_any);
    EXPECT_TRUE(e.hosts.empty()) << "nvmet refuses both at once";
}

TEST(Export, ChangesTouchOnlyWhatDiffersAndIsOurs) {
    Export wanted;
    wanted.ports = {"a"};
    wanted.active = "a";
    const auto changes = prop_changes({{"owner", "me"}, {"export.ports", "a b"}, {"export.any", "1"}, {"export.host.0", "nqn.h"}}, wanted);
    EXPECT_EQ(changes.size(), 3U);
    EXPECT_EQ(changes.at("export.ports"), "a");
    EXPECT_EQ(changes.at("export.any"), std::nullopt);
    EXPECT_EQ(changes.at("export.host.0"), std::nullopt);
    EXPECT_TRUE(prop_changes(props_of(wanted), wanted).empty());
}

TEST(Export, EachHostKeepsItsPropertySoThatNoCutShutsOneOut) {
    Export wanted;
    wanted.hosts = {"nqn.a", "nqn.b", "nqn.c"};
    const Props now{{"export.host.0", "nqn.b"}, {"export.host.3", "nqn.c"}};
    const auto changes = prop_changes(now, wanted);
    ASSERT_EQ(changes.size(), 1U);
    EXPECT_EQ(changes.at("export.host.1"), "nqn.a");
    wanted.hosts = {"nqn.c", "nqn.d"};
    const auto other = prop_changes(now, wanted);
    EXPECT_EQ(other.at("export.host.0"), std::nullopt);
    EXPECT_EQ(other.at("export.host.1"), "nqn.d") << "not in the place of one that goes";
    EXPECT_EQ(other.size(), 2U);
}

// ---- space --------------------------------------------------------------------------------------------------------------------

Group a_group(std::uint64_t used, std::uint64_t before, std::uint64_t seconds) {
    Group g;
    g.capacity_bytes = 1000;
    g.used_bytes = used;
    g.free_bytes = 1000 - used;
    g.used_before_bytes = before;
    g.used_seconds = seconds;
    return g;
}

TEST(Space, StatusNamesTheWorstFirst) {
    Group g = a_group(0, 0, 0);
    g.provisioned_bytes = 1000;
    EXPECT_EQ(status_of(g), "Online");
    g.provisioned_bytes = 1001;
    EXPECT_EQ(status_of(g), "Overprovisioned");  // R21
    g.state = GroupState::degraded;
    EXPECT_EQ(status_of(g), "Degraded");
    g.state = GroupState::full;
    EXPECT_EQ(status_of(g), "Full");
    g.state = GroupState::faulted;
    EXPECT_EQ(status_of(g), "Faulted");
}

TEST(Space, TimeToFullFollowsTheRate) {
    EXPECT_EQ(seconds_to_full(a_group(500, 400, 100)), 500U) << "one byte a second, 500 are free";
    EXPECT_EQ(time_to_full_text(a_group(500, 400, 864000)), "50 days");
    EXPECT_EQ(time_to_full_text(a_group(500, 500, 86400)), "no growth");
    EXPECT_EQ(time_to_full_text(a_group(400, 500, 86400)), "no growth") << "more was given back than written";
    EXPECT_EQ(time_to_full_text(a_group(500, 0, 59)), "not known yet") << "too short to tell";
    EXPECT_EQ(time_to_full_text(a_group(500, 0, 0)), "not known yet") << "the module does not tell";
    EXPECT_EQ(time_to_full_text(a_group(1000, 1000, 86400)), "full");
    EXPECT_EQ(time_to_full_text(a_group(1, 0, 86400)), "999 days");
    EXPECT_EQ(time_to_full_text(a_group(1, 0, 864000)), "> 10 years");
    EXPECT_LT(growth_of(a_group(400, 500, 100))->bytes_per_second, 0);
}

TEST(Space, Texts) {
    Group g = a_group(0, 0, 0);
    g.provisioned_bytes = 2500;
    EXPECT_EQ(overcommit_text(g), "2.50 : 1");
    EXPECT_EQ(overcommit_text(Group{}), "-");
    for (const auto &[seconds, text] : {std::pair<std::uint64_t, const char *>{0, "0 s"}, {59, "59 s"}, {60, "1 min"}, {61, "1 min 1 s"}, {601, "10 min"},
                                        {3600, "1 h"}, {3660, "1 h 1 min"}, {172800, "2 days"}, {864001, "10 days"}})
        EXPECT_EQ(duration_text(seconds), text);
}

}  // namespace
}  // namespace pav
